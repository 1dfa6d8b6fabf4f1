"""A worker's parts around real shared memory, with a fake engine at the end of a real socket."""

from __future__ import annotations

import asyncio
import math
import mmap
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from inferctl.arena.layout import arena_bytes
from inferctl.arena.ledger import Ledger, ledger_bytes
from inferctl.arena.slots import ModelArena
from inferctl.arena.spec import ModelSpec, Roster, ServedVersions
from inferctl.arena.wire import RECEIVE_BYTES, RecordStream, Verdict, encode_records
from inferctl.bundles.manifest import Manifest
from inferctl.observation import LogsSettings, MetricsSettings
from inferctl.server.access import Access
from inferctl.server.app import App
from inferctl.server.catalogue import Catalogue
from inferctl.server.documentation import Documentation
from inferctl.server.health import State
from inferctl.server.link import EngineLink
from inferctl.server.logs import RequestLog
from inferctl.server.metrics import Exposition
from inferctl.server.offer import Offer
from inferctl.server.predict import Predict
from inferctl.server.repository import Repository
from inferctl.server.rest import Voice, build_rest
from inferctl.server.served import ServedModel
from inferctl.server.tally import Tally
from inferctl.server.traces import Traces
from inferctl.server.workplace import Workplace
from inferctl.settings import LimitsSettings, ModelSettings, ServerSettings
from inferctl.supervisor.keyring import Keyring

from .loop import until

WORKER = Ledger.FIRST_WORKER
SLOTS = 8


def make_ledger(*versions: str | Manifest, workers: int = 1) -> Ledger:
    """The n-th has the n-th place; of a mere name version 1."""
    ledger = Ledger(mmap.mmap(-1, ledger_bytes(Ledger.FIRST_WORKER + workers)), workers)
    for place, one in enumerate(versions):
        name, version = (one, 1) if isinstance(one, str) else (one.name, one.version)
        ledger.give_place(place, name, version)
    return ledger


def make_models(
    *manifests: Manifest,
    ledger: Ledger | None = None,
    bundle: Path = Path("no-files"),
    slots: int = SLOTS,
    workers: int = 1,
    settings: ModelSettings | dict[str, ModelSettings] | None = None,
) -> list[ServedModel]:
    """The models as the first worker sees them; the n-th has the n-th place.

    The queue holds as many rows as it has slots.
    """
    ledger = ledger or make_ledger(*manifests)
    models = []
    for number, manifest in enumerate(manifests):
        own = settings.get(manifest.name) if isinstance(settings, dict) else settings
        own = own or ModelSettings()
        limits = own.limits.model_copy(update={"max_queue_rows": slots})
        spec = ModelSpec(
            place=number,
            manifest=manifest,
            bundle=str(bundle),
            slots=slots * workers,
            arena_fd=-1,
            settings=own.model_copy(update={"limits": limits}),
        )
        memory = mmap.mmap(-1, arena_bytes(manifest, spec.slots))
        arena = ModelArena(manifest, spec.slots, workers, memory)
        models.append(ServedModel(Offer(spec), arena, 0, ledger))
    return models


def roster_of(*models: ServedModel, **labels: int) -> Roster:
    """The newest version of each answers by default, and the only model of all, or one so marked.

    `labels` are every model's.
    """
    served: dict[str, ServedVersions] = {}
    for model in models:
        before = served.get(model.name)
        places = (before.places if before else {}) | {model.version: model.place}
        own = {label: version for label, version in labels.items() if version in places}
        served[model.name] = ServedVersions(places=places, default=max(places), labels=own)
    marked = [model.name for model in models if model.settings.default]
    return Roster(models=served, default=next(iter(marked), None))


def catalogue_of(*models: ServedModel, **labels: int) -> Catalogue:
    catalogue = Catalogue()
    catalogue.renew(roster_of(*models, **labels), {model.place: model for model in models})
    return catalogue


def link_of(*models: ServedModel) -> EngineLink:
    link = EngineLink()
    for model in models:
        link.add(model)
    return link


def few_slots(**limits: Any) -> ModelSettings:
    return ModelSettings(limits=LimitsSettings(**limits))


def hold(model: ServedModel, rows: int, deadline_s: float = math.inf, held: int = 0) -> list[int]:
    """Slots of rows that are admitted."""
    model.admit(rows, deadline_s, time.monotonic(), held)
    return model.take(rows)


Row = tuple[int, int]
Fill = Callable[[ServedModel, int], None]


def outputs_of(model: ServedModel, slot: int) -> dict[str, Any]:
    """A row's outputs, to be written."""
    return {name: column[slot] for name, column in model.arena.outputs.items()}


def most_likely_first(model: ServedModel, slot: int) -> None:
    """Scores that fall from the first label, or box, to the last."""
    outputs = outputs_of(model, slot)
    scores = outputs.get("scores", outputs.get("logits"))
    scores[:] = [2.0**-place for place in range(1, len(scores) + 1)]
    if "boxes" in outputs:
        outputs["boxes"][:] = (0, 0, 0.5, 1)
        outputs["labels"][:] = 0


class FakeEngine:
    """Answers each row at once with `verdict`, or, when that is None, as the test says.

    `submitted` holds the rows (model, slot) in the order they came.
    """

    def __init__(
        self,
        models: Sequence[ServedModel],
        verdict: Verdict | None = Verdict.DONE,
        fill: Fill = most_likely_first,
    ) -> None:
        self._models = models
        self.verdict = verdict
        self.fill = fill
        # When its next runs begin; now, if that is None.
        self.started_s: float | None = None
        self.submitted: asyncio.Queue[Row] = asyncio.Queue()
        self._socket: socket.socket | None = None
        self._records = RecordStream()

    def connect(self, link: EngineLink, *, reading: bool = True) -> FakeEngine:
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        if reading:
            self.read_on()
        link.attach(theirs)
        return self

    def read_on(self) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except ConnectionResetError:  # the link hung up without reading all
            data = b""
        if not data:
            self.die()
        for slot, model, _ in self._records.feed(data):
            self.submitted.put_nowait((model, slot))
            if self.verdict is not None:
                self.answer((model, slot), self.verdict)

    def answer(self, row: Row, verdict: Verdict = Verdict.DONE) -> None:
        """Run a row, and say what became of it."""
        number, slot = row
        model = self._models[number]
        model.arena.started_s[slot] = self.started_s or time.monotonic()
        if verdict == Verdict.DONE:
            self.fill(model, slot)
        model.arena.finished_s[slot] = time.monotonic()
        self.send(encode_records([(slot, number, verdict)]))

    def send(self, data: bytes) -> None:
        assert self._socket is not None
        self._socket.sendall(data)

    async def next(self) -> Row:
        """The next row that was submitted."""
        return await self.submitted.get()

    def die(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None


@dataclass
class Worker:
    """Everything of a worker but its process; `asked` is what it told the supervisor."""

    app: App
    predict: Predict
    work: Workplace
    models: list[ServedModel]
    catalogue: Catalogue
    link: EngineLink
    engine: FakeEngine
    ledger: Ledger
    state: State
    log: RequestLog
    log_path: Path
    exposition: Exposition
    repository: Repository
    asked: list[dict[str, Any]]
    server: ServerSettings

    def engine_is_ready(self, ready: bool = True) -> None:
        self.ledger.blocks[Ledger.ENGINE].cell("inferctl_engine_ready").set(float(ready))

    def service_ends(self) -> None:
        """What the supervisor says before it tells the workers to drain."""
        self.ledger.blocks[Ledger.SUPERVISOR].cell("inferctl_draining").set(1)

    def engine_is_replaced(self) -> None:
        """What the supervisor says of a dead engine."""
        supervisor = self.ledger.blocks[Ledger.SUPERVISOR]
        supervisor.cell("inferctl_restarts_total", value="engine").add()
        self.engine_is_ready(False)

    def time_is_over(self) -> None:
        """Every request has now waited too long."""
        for request in list(self.work.timeouts._begun_s):
            request.expire()

    def logged(self) -> list[dict[str, Any]]:
        """What the request log holds; nothing can be logged after."""
        self.log.close()
        return [orjson.loads(line) for line in self.log_path.read_bytes().splitlines()]

    async def slots_are_used(self, count: int) -> None:
        """Waits for so many requests to be admitted."""
        await until(lambda: self.slots_in_use() == count)

    def slots_in_use(self) -> float:
        return sum(self.ledger.total("inferctl_in_flight", model.place) for model in self.models)


@asynccontextmanager
async def working(
    folder: Path,
    *manifests: Manifest,
    server: ServerSettings | None = None,
    verdict: Verdict | None = Verdict.DONE,
    fill: Fill = most_likely_first,
    traces: Traces | None = None,
    **options: Any,
) -> AsyncIterator[Worker]:
    """A worker whose engine is there and ready; `options` go to `make_models`."""
    server = server or ServerSettings()
    ledger = make_ledger(*manifests)
    if len(manifests) == 1:  # the supervisor marks the only model
        own = options.pop("settings", ModelSettings())
        options["settings"] = own.model_copy(update={"default": True})
    models = make_models(*manifests, ledger=ledger, bundle=folder, **options)
    catalogue, link = catalogue_of(*models), link_of(*models)
    log = RequestLog(
        LogsSettings(path=str(folder / "requests.log")),
        ledger.blocks[WORKER].cell("inferctl_log_dropped_total"),
        terminal=False,
    )
    tally = Tally(ledger.blocks[WORKER])
    # Most tests ask by a name that no service has.
    named = server.model_copy(update={"allowed_hosts": (*server.allowed_hosts, "here")})
    access = Access(named, Keyring(server.api_keys).keys, ledger, WORKER)
    state = State(ledger, link, catalogue, server, access.is_keyed)
    work = Workplace(link, log, tally, state, server, decode_threads=2, workers=1, traces=traces)
    predict = Predict(catalogue, work, access)
    rest = build_rest(server)
    asked: list[dict[str, Any]] = []
    repository = Repository(asked.append)
    documentation = Documentation(rest.openapi, catalogue)
    exposition = Exposition(ledger, catalogue, MetricsSettings())
    voice = Voice(state, exposition, catalogue, documentation, repository)
    app = App(predict, rest, voice, log)
    engine = FakeEngine(models, verdict, fill).connect(link)
    path = folder / "requests.log"
    worker = Worker(
        app,
        predict,
        work,
        models,
        catalogue,
        link,
        engine,
        ledger,
        state,
        log,
        path,
        exposition,
        repository,
        asked,
        server,
    )
    worker.engine_is_ready()
    try:
        yield worker
    finally:
        link.detach()
        engine.die()
        log.close()
