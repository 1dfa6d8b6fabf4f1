"""Who wants the models changed: each is heard, and none twice for the same."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from inferctl.supervisor.desk import Desk
from inferctl.supervisor.errands import Errands
from inferctl.supervisor.reloader import Reloader
from tests.server.loop import look_once, until

from .children import FakeChild

INDEX = [{"name": "a"}]


class FakeReloader:
    """Notes what is to be done, and takes until `may_end`."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def reload(self, only: str | None = None) -> dict[str, str]:
        self.begun.append(f"reload {only}")
        await self.may_end.wait()
        return {"a version 2": "damaged"}

    async def unload(self, name: str) -> dict[str, str]:
        self.begun.append(f"unload {name}")
        return {}

    async def lose(self, lost: list[tuple[int, str]]) -> None:
        self.begun.append(f"lose {lost}")

    def index(self) -> list[dict[str, str]]:
        return INDEX


class Office:
    def __init__(self) -> None:
        self.reloader = FakeReloader()
        self.desk = Desk(cast(Reloader, self.reloader))
        self.worker = FakeChild(Errands())

    def ask(self, about: str) -> None:
        message = {"event": "ask", "id": 7, "about": about, "model": "a"}
        self.desk.take(self.worker.child, message)

    async def answer(self) -> dict[str, Any]:
        await until(lambda: self.worker.told)
        return self.worker.told.pop()


async def test_a_worker_hears_what_became_of_it() -> None:
    office = Office()
    office.ask("load")
    problems = {"a version 2": "damaged"}
    assert await office.answer() == {"do": "hear", "to": 7, "index": [], "problems": problems}
    office.ask("unload")
    assert (await office.answer())["problems"] == {}
    office.ask("index")
    assert (await office.answer())["index"] == INDEX
    assert office.reloader.begun == ["reload a", "unload a"]


async def test_signals_in_the_middle_of_a_reload_are_one_more() -> None:
    office = Office()
    office.desk.wake()
    assert office.reloader.begun == [], "nothing runs yet"
    office.reloader.may_end.clear()
    office.desk.open()
    await look_once()
    for _ in range(3):
        office.desk.wake()
    await look_once()
    assert office.reloader.begun == ["reload None"]
    office.reloader.may_end.set()
    await look_once()
    assert office.reloader.begun == ["reload None"] * 2
    office.desk.close()


async def test_at_the_end_nobody_is_left_waiting() -> None:
    office = Office()
    office.reloader.may_end.clear()
    office.ask("load")
    await look_once()
    office.desk.close()
    assert (await office.answer())["problems"] == {"a": "the service ends"}
    office.ask("load")
    assert (await office.answer())["problems"] == {"a": "the service ends"}
    assert office.reloader.begun == ["reload a"]


async def test_what_an_engine_could_not_load_is_passed_on() -> None:
    office = Office()
    office.desk.lose([])
    office.desk.lose([(3, "gone")])
    await until(lambda: office.reloader.begun)
    assert office.reloader.begun == ["lose [(3, 'gone')]"]
