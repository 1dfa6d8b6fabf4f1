"""The store's thread, where the store says no."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from inferctl.arena.cells import Cell
from inferctl.deferral import JobsSettings
from inferctl.jobs.job import NewJob, new_job_id
from inferctl.jobs.sqlite.preparation import prepare_store
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.jobs.store import Store, StoreUnavailable
from inferctl.refusals import Overloaded
from inferctl.server.jobs import desk as desk_module
from inferctl.server.jobs.desk import Desk


class Counted:
    """A cell."""

    count = 0

    def add(self) -> None:
        self.count += 1


class Bodies(list[bytes]):
    """A list that can be looked after."""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """With room for no job."""
    assert prepare_store(tmp_path / "state", strict=True) is None

    def opened() -> Store:
        return SqliteStore(tmp_path / "state", JobsSettings(max_bytes=1024))

    desk = Desk(opened, cast(Cell, Counted()))
    yield desk
    desk.close()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What is in a cycle stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def job(bodies: Sequence[bytes]) -> NewJob:
    return NewJob(new_job_id(), "m", "", "", "application/json", bodies)


@pytest.mark.usefixtures("uncollected")
async def test_what_is_refused_does_not_stay_in_memory(desk: Desk) -> None:
    await desk.submit(job([b"x" * 1000]))
    bodies = Bodies([b"x" * 1000])
    left = weakref.ref(bodies)
    with pytest.raises(Overloaded):
        await desk.submit(job(bodies))
    del bodies
    await desk.do(lambda _: None)
    assert left() is None


@pytest.mark.row(138)
async def test_no_more_wait_for_a_store_that_does_not_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_module, "MOST_WAITING", 3)
    monkeypatch.setattr(desk_module, "HELD_UP_S", 0)
    answered = threading.Event()
    waiting = [asyncio.create_task(desk.do(lambda _: answered.wait())) for _ in range(2)]
    submitted = asyncio.create_task(desk.submit(job([b"x"])))
    await asyncio.sleep(0)
    for refused in (desk.do(lambda _: None), desk.submit(job([b"x"]))):
        with pytest.raises(StoreUnavailable, match="too many wait"):
            await refused
    answered.set()
    assert await asyncio.gather(*waiting) == [True, True]
    assert (await submitted).is_new
    assert (await desk.submit(job([b"x"]))).is_new
