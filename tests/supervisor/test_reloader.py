"""Another version takes over only when everyone has it, and what fails leaves nothing behind."""

from __future__ import annotations

import asyncio
import mmap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from inferctl.arena.ledger import Ledger, ledger_bytes
from inferctl.arena.placed import Placed
from inferctl.errors import BundleError, SettingsError
from inferctl.keys import KeySettings
from inferctl.settings import Settings
from inferctl.supervisor import reloader as module
from inferctl.supervisor.reloader import Reloader
from inferctl.supervisor.worker import Nursery
from tests.e2e.multiples import NAME, Shelf, flipped, missing, other_inputs
from tests.server.keyed import key_settings
from tests.server.loop import look_once, until

from .children import SILENT, FakeChild


class FakeNursery:
    """Makes no offers; `refuses` is an error of the next one."""

    def __init__(self) -> None:
        self.places: set[int] = set()
        self.refuses: Exception | None = None

    def add(self, model: Any) -> None:
        if self.refuses:
            raise self.refuses
        self.places.add(model.place)

    def drop(self, place: int) -> None:
        self.places.discard(place)


class Kept:
    """A reloader of a folder with version 1, its fake processes, and how often it announced."""

    def __init__(self, folder: Path) -> None:
        self.shelf = Shelf(folder)
        self.shelf.put(1)
        self.own: dict[str, Any] = {}
        self.keys: dict[str, KeySettings] = {}
        self.ledger = Ledger(mmap.mmap(-1, ledger_bytes(4)), 2)
        self.nursery = FakeNursery()
        self.reloader = Reloader(
            self.settings(), self.settings, self.ledger, 2, cast(Nursery, self.nursery)
        )
        errands = self.reloader.errands
        self.engine, *self.workers = [FakeChild(errands) for _ in range(3)]
        self.reloader.serve_with(self.engine.child, [worker.child for worker in self.workers])
        self.reloader.begin()
        self.nursery.places = set(self.reloader.stock.of_workers)
        self.reloader.engine_ready.set()

    def settings(self) -> Settings:
        tree = {"models_dir": str(self.shelf.models), "limits": {"max_queue_rows": 4}}
        tree |= {"server": {"api_keys": self.keys}}
        return Settings.model_validate(tree | ({"models": {NAME: self.own}} if self.own else {}))

    def key_names(self) -> list[list[str]]:
        """What the ring has, and what each worker was told last of keys, if anything."""
        told = [[m["keys"] for m in worker.told if m["do"] == "keys"] for worker in self.workers]
        ring = [key.name for key in self.reloader.keyring.keys]
        return [ring, *([key["name"] for key in keys[-1]] for keys in told if keys)]

    def served(self) -> list[int]:
        """The versions on the roster."""
        model = self.reloader.roster.models.get(NAME)
        return sorted(model.places) if model else []

    async def settle(self) -> None:
        """What leaves has left."""
        await asyncio.gather(*self.reloader._leaving)

    def count(self, outcome: str) -> float:
        return self.ledger.total("inferctl_reloads_total", value=outcome)

    def is_tidy(self) -> bool:
        """Whether exactly what is served is in memory, wherever one looks."""
        stock, places = self.reloader.stock, self.reloader.roster.places()
        return (
            set(stock._taken) == set(stock.of_engine) == set(stock.of_workers) == places
            and self.nursery.places == places
            and not self.reloader.errands._open
        )


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[Kept]:
    it = Kept(folder)
    yield it
    await it.settle()
    assert it.is_tidy()
    for place in list(it.reloader.stock._taken):
        it.reloader.stock.free(place)


async def test_what_is_loaded_is_said_to_be_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with kept(tmp_path) as it:
        lost = Placed("cpu", ("",), "libcuda.so.1 is not found", "install it")
        it.ledger.placed.write(dict.fromkeys(range(4), lost))  # whichever it will have
        it.shelf.put(2)
        assert await it.reloader.reload() == {}
        assert f"libcuda.so.1 is not found, so {NAME} runs on the CPU: " in capsys.readouterr().out


async def test_the_engine_loads_before_the_workers_prepare_and_unloads_after_they_let_go(
    tmp_path: Path,
) -> None:
    async with kept(tmp_path) as it:
        order: list[str] = []
        for name, child in (("engine", it.engine), ("worker", it.workers[0])):
            child.answer = lambda message, name=name: order.append(f"{name} {message['do']}")  # type: ignore[misc, func-returns-value]
        it.shelf.put(2)
        assert await it.reloader.reload() == {}
        await it.settle()
        assert order == [
            "engine load", "worker prepare", "worker serve", "worker leave", "engine unload",
        ]  # fmt: skip
        assert it.served() == [2]
        assert it.count("ok") == 1


async def test_what_has_not_changed_is_not_loaded_again(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        assert await it.reloader.reload() == {}
        assert it.engine.told == []
        assert it.served() == [1]


async def test_other_settings_of_a_model_load_it_anew(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.own = {"batching": {"max_batch_rows": 2}}
        assert await it.reloader.reload() == {}
        assert it.engine.heard()[0].startswith("load")
        it.own = {"batching": {"max_batch_rows": 9}}
        problems = await it.reloader.reload()
        assert "max_queue_rows" in problems[NAME]
        assert it.served() == [1]


async def test_another_export_of_a_version_takes_its_place(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.shelf.remove(1)
        it.shelf.put(1, created_at="2026-02-02T00:00:00Z")
        assert await it.reloader.reload() == {}
        await it.settle()
        assert [told.split()[0] for told in it.engine.heard()] == ["load", "unload"]


async def test_several_versions_are_served_as_the_settings_say(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.shelf.put(2)
        it.own = {"labels": {"stable": 1, "canary": 2}}
        await it.reloader.reload()
        model = it.reloader.roster.models[NAME]
        assert (it.served(), model.default, model.labels) == ([1, 2], 1, it.own["labels"])
        it.own = {"versions": [2]}
        await it.reloader.reload()
        assert it.served() == [2]


@pytest.mark.parametrize("who", ["engine", "worker"])
async def test_a_version_that_one_of_them_refuses_is_served_by_none(
    tmp_path: Path, who: str
) -> None:
    async with kept(tmp_path) as it:
        child = it.engine if who == "engine" else it.workers[1]
        wrong = {"load", "prepare"}
        child.answer = lambda message: "no room" if message["do"] in wrong else None
        it.shelf.put(2)
        assert await it.reloader.reload() == {f"{NAME} version 2": "no room"}
        assert it.reloader.roster.problems == {f"{NAME} version 2": "no room"}
        assert it.served() == [1]
        assert it.count("failed") == 1
        child.answer = lambda message: None
        assert await it.reloader.reload() == {}
        assert it.reloader.roster.problems == {}
        assert it.served() == [2]


@pytest.mark.parametrize("damage", [missing, other_inputs])
async def test_a_broken_version_changes_nothing(tmp_path: Path, damage: Any) -> None:
    async with kept(tmp_path) as it:
        damage(it.shelf)
        if damage is missing:  # the engine would look, this one does not
            it.engine.answer = lambda message: "missing" if message["do"] == "load" else None
        problems = await it.reloader.reload()
        assert list(problems) == [f"{NAME} version 2"]
        assert it.served() == [1]


async def test_of_two_new_versions_one_that_fails_keeps_the_other_out(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.shelf.put(2)
        it.shelf.put(3)
        it.own = {"versions": [2, 3]}
        it.engine.answer = lambda message: (
            "no" if message.get("model", {}).get("manifest", {}).get("version") == 3 else None
        )
        assert await it.reloader.reload() == {f"{NAME} version 3": "no"}
        assert it.served() == [1]


async def test_what_the_supervisor_cannot_make_is_not_asked_for(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.nursery.refuses = BundleError("no tokenizer")
        it.shelf.put(2)
        assert await it.reloader.reload() == {f"{NAME} version 2": "no tokenizer"}
        assert "load" not in " ".join(it.engine.heard()).split()


async def test_an_engine_that_dies_of_a_version_is_not_told_of_it_again(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.engine.answer = lambda message: SILENT
        it.shelf.put(2)
        reloading = asyncio.create_task(it.reloader.reload())
        await until(lambda: it.engine.told)
        (place,) = set(it.reloader.stock._taken) - set(it.reloader.stock.of_engine)
        assert it.reloader.index()[1]["state"] == "LOADING"
        it.engine.die()
        problems = await reloading
        assert problems == {f"{NAME} version 2": "the engine died while it loaded"}
        assert place not in it.reloader.stock.of_engine
        assert it.served() == [1]


async def test_workers_that_die_are_replaced_by_ones_that_have_it(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.workers[0].answer = lambda message: SILENT
        it.workers[1].is_dead = True
        it.shelf.put(2)
        reloading = asyncio.create_task(it.reloader.reload())
        await until(lambda: it.workers[0].told)
        it.workers[0].die()
        assert await reloading == {}
        assert [spec.manifest.version for spec in it.reloader.stock.of_workers.values()] == [2]


async def test_a_version_stays_in_the_engine_until_every_worker_let_go(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        slow = it.workers[1]
        slow.answer = lambda message: SILENT if message["do"] == "leave" else None
        it.shelf.put(2)
        assert await it.reloader.reload() == {}
        await look_once()
        versions = [spec.manifest.version for spec in it.reloader.stock.of_engine.values()]
        assert versions == [1, 2], "an engine that is started now must have its rows' version"
        assert [told.split()[0] for told in it.engine.heard()] == ["load"]
        slow.die()


async def test_a_worker_that_does_not_answer_holds_nothing_up_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORKER_TIMEOUT_S", 0.01)
    async with kept(tmp_path) as it:
        stuck = it.workers[0]
        stuck.answer = lambda message: SILENT
        it.shelf.put(2)
        problems = await it.reloader.reload()
        assert problems == {f"{NAME} version 2": "a worker took longer than 0.01 s"}
        assert it.served() == [1]
        stuck.die()


async def test_what_is_not_served_is_logged_when_every_worker_says_so(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        missing(it.shelf)
        logged_before: list[int] = []
        with capture_logs() as logs:
            it.workers[1].answer = lambda message: logged_before.append(len(logs))  # type: ignore[func-returns-value]
            await it.reloader.reload()
        assert logged_before == [0]
        assert [line["event"] for line in logs] == ["not served", "reloaded"]


async def test_reloads_do_not_run_side_by_side(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.shelf.put(2)
        told = await asyncio.gather(*(it.reloader.reload() for _ in range(3)))
        assert told == [{}] * 3
        assert sum(one.startswith("load") for one in it.engine.heard()) == 1


async def test_a_model_is_unloaded_and_loaded_by_name(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        assert it.reloader.roster.default == NAME
        assert await it.reloader.unload(NAME) == {}
        assert (it.served(), it.reloader.roster.default) == ([], None)
        assert await it.reloader.unload(NAME) == {NAME: "it is not served"}
        assert await it.reloader.reload(NAME) == {}
        assert (it.served(), it.reloader.roster.default) == ([1], NAME)
        assert "no such model" in (await it.reloader.reload("other"))["other"]


@pytest.mark.row(114)
@pytest.mark.parametrize("name", ["..", ".", "a/b", f"{NAME}/1", "\0", "x" * 300])
async def test_a_name_that_is_a_path_leads_nowhere(tmp_path: Path, name: str) -> None:
    async with kept(tmp_path) as it:
        assert "no such model" in (await it.reloader.reload(name))[name]
        assert await it.reloader.unload(name) == {name: "it is not served"}
        assert it.served() == [1]


async def test_a_model_whose_folder_is_gone_is_served_no_more(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        (it.shelf.models / NAME).rename(it.shelf.models / "renamed")
        problems = await it.reloader.reload()
        assert list(problems) == ["renamed version 1"], "its manifest has the old name"
        assert it.reloader.roster.models == {}


async def test_an_empty_folder_or_wrong_settings_change_nothing(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.shelf.take(1)
        assert "no bundle found" in (await it.reloader.reload())["what changed"]
        assert it.served() == [1]
        it.own = {"versions": [1]}
        assert "no bundle found" in (await it.reloader.reload())["what changed"]
        assert list(it.reloader.roster.problems) == ["what changed"]


@pytest.mark.parametrize("only", [None, NAME, "other"])
async def test_where_the_models_are_is_told_to_the_log_alone(
    tmp_path: Path, only: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    async with kept(tmp_path) as it:
        flipped(it.shelf)
        where = str(it.shelf.models)
        it.engine.answer = lambda message: f"damaged ({where}/2)" if "model" in message else None
        problems = await it.reloader.reload(only)
        assert problems
        told = [*problems.values(), *it.reloader.roster.problems.values()]
        told += [version["reason"] for version in it.reloader.index()]
        assert not [text for text in told if where in text]
        assert where in capsys.readouterr().out


async def test_keys_are_renewed_whatever_becomes_of_the_models(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.shelf.take(1)
        it.keys = {"app": key_settings("app"), "ops": key_settings("ops")}
        for wrong in (lambda: it.reloader.reload(), lambda: it.reloader.reload("other")):
            assert await wrong() != {}
            assert it.key_names() == [list(it.keys)] * 3
            it.keys = {"ops": key_settings("ops")}
        it.keys = {}
        assert "names none any more" in (await it.reloader.reload())["what changed"]
        assert it.key_names() == [["ops"]] * 3


async def test_the_last_key_is_not_taken_by_a_reload(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.keys = {"app": key_settings("app"), "ops": key_settings("ops")}
        assert await it.reloader.reload() == {}
        assert it.key_names() == [["app", "ops"]] * 3
        it.keys = {}
        assert "names none any more" in (await it.reloader.reload())["what changed"]
        assert it.key_names() == [["app", "ops"]] * 3
        it.keys = {"ops": key_settings("ops")}
        assert await it.reloader.reload() == {}
        assert it.key_names() == [["ops"]] * 3


async def test_the_index_tells_of_every_version(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        flipped(it.shelf)
        it.engine.answer = lambda message: "damaged" if message["do"] == "load" else None
        await it.reloader.reload()
        it.shelf.put(3)
        it.shelf.take(1)
        states = {one["version"]: (one["state"], one["reason"]) for one in it.reloader.index()}
        assert states == {
            "1": ("READY", ""),
            "2": ("UNAVAILABLE", "damaged"),
            "3": ("UNAVAILABLE", "not asked for"),
        }


@pytest.mark.row(104, 105)
def test_at_the_start_every_file_is_looked_at(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    flipped(shelf)
    settings = Settings(models_dir=str(shelf.models))
    ledger = Ledger(mmap.mmap(-1, ledger_bytes(2)), 0)
    with pytest.raises(BundleError, match="SHA-256 differs"):
        Reloader(settings, lambda: settings, ledger, 1, cast(Nursery, FakeNursery())).begin()


def test_at_the_start_a_version_that_is_not_there_is_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(1)
    tree = {"models_dir": str(shelf.models), "models": {NAME: {"versions": [2]}}}
    settings = Settings.model_validate(tree)
    ledger = Ledger(mmap.mmap(-1, ledger_bytes(2)), 0)
    with pytest.raises(SettingsError, match="version 2 is not there; found: 1"):
        Reloader(settings, lambda: settings, ledger, 1, cast(Nursery, FakeNursery())).begin()


async def test_what_a_new_engine_could_not_load_is_served_no_more(tmp_path: Path) -> None:
    async with kept(tmp_path) as it:
        it.shelf.put(2)
        it.own = {"versions": [1, 2], "labels": {"stable": 1, "old": 1, "new": 2}}
        assert await it.reloader.reload() == {}
        first = it.reloader.roster.models[NAME].places[1]
        await it.reloader.lose([(first, "its folder is gone")])
        await it.settle()
        model = it.reloader.roster.models[NAME]
        assert (list(model.places), model.default, model.labels) == ([2], 2, {"new": 2})
        problem = it.reloader.roster.problems[f"{NAME} version 1"]
        assert problem == "the engine was replaced, and then its folder is gone"

        await it.reloader.lose([(model.places[2], "gone too")])
        assert it.served() == []
        await it.reloader.lose([(99, "never served")])
        assert await it.reloader.reload() == {}
        assert (it.served(), it.reloader.roster.problems) == ([1, 2], {})
