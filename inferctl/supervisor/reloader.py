"""What is served, changed while it is: another version loads beside the old one and takes over.

A version that cannot be loaded changes nothing: the roster keeps what it had of that model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import structlog

from inferctl.arena.ledger import Ledger
from inferctl.arena.spec import ModelSpec, Roster, ServedVersions
from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, Manifest
from inferctl.bundles.repository import Bundle, check_file, check_files, read_bundle
from inferctl.bundles.wanted import choose, default_model, survey
from inferctl.errors import BundleError, InferctlError, StartError
from inferctl.reasons import without_folders
from inferctl.settings import ModelSettings, ServerSettings, Settings
from inferctl.supervisor.child import Child
from inferctl.supervisor.errands import Errands, Outcome
from inferctl.supervisor.exposure import what_may_change
from inferctl.supervisor.keyring import Keyring
from inferctl.supervisor.listing import list_versions
from inferctl.supervisor.placing import log_placed
from inferctl.supervisor.specs import check_takes_over, own_settings
from inferctl.supervisor.stock import Stock
from inferctl.supervisor.worker import Nursery

log = structlog.get_logger()

# The largest models take minutes to load and warm. A worker that takes so long is stopped.
LOAD_TIMEOUT_S = 600.0
WORKER_TIMEOUT_S = 60.0
# The key of a problem that concerns no model alone.
CHANGE = "what changed"


class Reloader:
    """Keeps the roster. `begin` makes the first one, before there are processes."""

    def __init__(
        self, settings: Settings, reread: Callable[[], Settings], ledger: Ledger, workers: int,
        nursery: Nursery,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._reread = reread
        self._ledger, self._block = ledger, ledger.blocks[Ledger.SUPERVISOR]
        self._nursery = nursery
        self._one_at_a_time = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self.stock = Stock(ledger, workers)
        self.keyring = Keyring(settings.server.api_keys)
        self.errands = Errands()
        self.roster = Roster()
        # Name and version.
        self.loading: tuple[str, int] | None = None
        self.engine_ready = asyncio.Event()
        self._problems: dict[str, dict[str, str]] = {}
        self._engine: Child
        self._workers: Sequence[Child]

    def begin(self) -> None:
        """Take places for what is to be served. Raises StartError, BundleError or SettingsError."""
        shelf = survey(self._settings)
        models = {}
        for name, found in shelf.items():
            own = own_settings(name, self._settings)
            wanted = choose(name, found, self._settings.for_model(name))
            places = {}
            for version, folder in wanted.folders.items():
                bundle = read_bundle(Path(self._settings.models_dir), folder)
                check_files(bundle)
                spec = self.stock.take(bundle, own)
                self.stock.of_engine[spec.place] = self.stock.of_workers[spec.place] = spec
                places[version] = spec.place
            models[name] = ServedVersions(
                places=places, default=wanted.default, labels=wanted.labels
            )
        self.roster = Roster(models=models, default=default_model(models, self._settings))

    def serve_with(self, engine: Child, workers: Sequence[Child]) -> None:
        """The processes that are asked from now on."""
        self._engine, self._workers = engine, workers

    async def reload(self, only: str | None = None) -> dict[str, str]:
        """Bring the roster in line with folder and settings; of one model alone, if `only` that.

        Why what should be served is not, by version; no error is raised.
        """
        async with self._one_at_a_time:
            try:
                settings = what_may_change(self._settings, self._reread())
                self._renew_keys(settings.server)
                shelf = survey(settings)
                if only is not None and only not in shelf:
                    raise BundleError("no such model", where=settings.models_dir)
            except InferctlError as error:
                return await self._note(only or CHANGE, {only or CHANGE: str(error)})
            self._settings = settings
            self._problems.pop(CHANGE, None)
            problems: dict[str, str] = {}
            for name in shelf if only is None else [only]:
                problems |= await self._renew(name, shelf[name])
            if only is None:
                for name in set(self.roster.models) - set(shelf):
                    await self._switch(name, None)
            log.info("reloaded", models=self.told(), failed=len(problems))
            return problems

    def _renew_keys(self, server: ServerSettings) -> None:
        """These keys count from now on, whatever becomes of the models: one may be taken back."""
        self._settings = self._settings.model_copy(update={"server": server})
        if self.keyring.renew(server.api_keys):
            keys = [key.model_dump(mode="json") for key in self.keyring.keys]
            for worker in self._workers:
                worker.tell({"do": "keys", "keys": keys})
            log.info("keys renewed", count=len(keys))

    async def unload(self, name: str) -> dict[str, str]:
        """Serve no version of a model any more, until it is loaded again; why not, if so."""
        async with self._one_at_a_time:
            if name not in self.roster.models:
                return {name: "it is not served"}
            await self._switch(name, None)
            log.info("unloaded", model=name)
            return {}

    async def lose(self, lost: Iterable[tuple[int, str]]) -> None:
        """An engine that replaced another could not load what was at these places, and why: it is
        served no more until it is loaded again, and the rest is."""
        reasons = dict(lost)
        async with self._one_at_a_time:
            for name, served in list(self.roster.models.items()):
                gone = {v: reasons[place] for v, place in served.places.items() if place in reasons}
                if gone:
                    await self._switch(name, served.without(gone))
                    await self._note(name, {
                        f"{name} version {version}": f"the engine was replaced, and then {reason}"
                        for version, reason in gone.items()
                    })  # fmt: skip

    def index(self) -> list[dict[str, str]]:
        """Every version there is, and whether it is served. Raises nothing."""
        return list_versions(Path(self._settings.models_dir), self.roster, self.loading)

    def told(self) -> str:
        """What is served, in a line."""
        return ", ".join(
            f"{name} v{' v'.join(map(str, model.places))}"
            for name, model in self.roster.models.items()
        )

    async def _renew(self, name: str, found: dict[int, Path]) -> dict[str, str]:
        """Load what is wanted of a model and not served, and let it take over; its problems."""
        places: dict[int, int] = {}
        about = name
        try:
            own = own_settings(name, self._settings)
            wanted = choose(name, found, self._settings.for_model(name))
            for version, folder in wanted.folders.items():
                about = f"{name} version {version}"
                bundle = read_bundle(Path(self._settings.models_dir), folder)
                if version == wanted.default:
                    self._check_takes_over(bundle.manifest)
                places[version] = await self._have(bundle, own)
        except (InferctlError, OSError) as error:
            self._block.cell("inferctl_reloads_total", value="failed").add()
            problems = await self._note(name, {about: str(error)})
            served = self.roster.models[name].places if name in self.roster.models else {}
            self._retire(set(places.values()) - set(served.values()))
            return problems
        await self._switch(name, ServedVersions(
            places=places, default=wanted.default, labels=wanted.labels
        ))  # fmt: skip
        return {}

    def _check_takes_over(self, manifest: Manifest) -> None:
        if served := self.roster.models.get(manifest.name):
            place = served.places[served.default]
            check_takes_over(manifest, self.stock.of_workers[place].manifest)

    async def _have(self, bundle: Bundle, own: ModelSettings) -> int:
        """The place of a version, loaded everywhere. Raises InferctlError or OSError."""
        if same := self.stock.same(bundle, own):
            return same.place
        for file in bundle.manifest.files:
            if file not in (GRAPH_FILE, DATA_FILE):  # the engine looks at those, beside serving
                check_file(bundle.path, bundle.manifest, file)
        spec = self.stock.take(bundle, own)
        self.loading = (spec.name, spec.manifest.version)
        try:
            await self._load(spec)
        except (InferctlError, OSError):
            self._retire({spec.place})
            raise
        finally:
            self.loading = None
        self._block.cell("inferctl_reloads_total", value="ok").add()
        log_placed({spec.place: spec}, self._ledger.placed.read())
        return spec.place

    async def _load(self, spec: ModelSpec) -> None:
        """Load a version in the supervisor, the engine, and the workers, in this order."""
        self._nursery.add(spec)
        model = spec.model_dump(mode="json")
        async with _limit(LOAD_TIMEOUT_S, "the engine"):
            await self.engine_ready.wait()
            error = await self.errands.ask(
                self._engine, {"do": "load", "model": model}, spec.arena_fd,
                if_lost="the engine died while it loaded",
            )  # fmt: skip
        if error:
            raise StartError(error)
        # Whoever is started from here on has it, and is told no more of it than the others.
        self.stock.of_engine[spec.place] = self.stock.of_workers[spec.place] = spec
        async with _limit(WORKER_TIMEOUT_S, "a worker"):
            answers = await asyncio.gather(*self._ask_workers(
                {"do": "prepare", "model": model}, spec.arena_fd
            ))  # fmt: skip
        if error := next(filter(None, answers), None):
            raise StartError(error)

    async def _switch(self, name: str, served: ServedVersions | None) -> None:
        """From now on these versions of a model are served, and no others of it."""
        before = self.roster.models.get(name)
        models = {key: model for key, model in self.roster.models.items() if key != name}
        if served:
            models[name] = served
        self._problems.pop(name, None)
        await self._announce(dict(sorted(models.items())))
        old = set(before.places.values()) if before else set()
        self._retire(old - self.roster.places())

    async def _note(self, name: str, problems: dict[str, str]) -> dict[str, str]:
        """Nothing of a model is changed, and why is told to everyone, and then logged; where it
        lies is told to the log alone."""
        told = {version: without_folders(reason) for version, reason in problems.items()}
        self._problems[name] = told
        await self._announce(self.roster.models)
        for version, reason in problems.items():
            log.error("not served", version=version, reason=reason)
        return told

    async def _announce(self, models: dict[str, ServedVersions]) -> None:
        """Tell all workers what is served; they do it when this returns."""
        self.roster = Roster(
            models=models,
            default=default_model(models, self._settings),
            problems=dict(chain.from_iterable(one.items() for one in self._problems.values())),
        )
        asked = self._ask_workers({"do": "serve", "roster": self.roster.model_dump(mode="json")})
        _, late = await asyncio.wait(asked, timeout=WORKER_TIMEOUT_S)
        if late:
            log.warning("workers do not answer", count=len(late))

    def _retire(self, places: set[int]) -> None:
        """Let go of versions that are not on the roster, once nobody needs them."""
        for place in places:
            self.stock.of_workers.pop(place, None)
            self._nursery.drop(place)
            left = self._ask_workers({"do": "leave", "place": place})
            task = asyncio.create_task(self._let_go(place, left))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _let_go(self, place: int, left: Sequence[asyncio.Future[Outcome]]) -> None:
        await asyncio.gather(*left)
        # An engine that is started from here on does without.
        self.stock.of_engine.pop(place, None)
        await self.errands.ask(self._engine, {"do": "unload", "place": place})
        self.stock.free(place)

    def _ask_workers(
        self, message: dict[str, Any], descriptor: int | None = None
    ) -> list[asyncio.Future[Outcome]]:
        """A worker that dies is replaced by one that was born with what was asked for."""
        return [self.errands.ask(worker, message, descriptor) for worker in self._workers]


@asynccontextmanager
async def _limit(seconds: float, who: str) -> AsyncIterator[None]:
    """Raises StartError when what is done inside takes too long."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StartError(f"{who} took longer than {seconds:g} s") from None
