"""One model's rows on a link, and engines that come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from inferctl.errors import InferctlError
from inferctl.refusals import Overloaded
from inferctl.server.link import EngineLink
from inferctl.server.served import ServedModel
from tests.tasks.tinybundles import classifier, detector

from .loop import look_once
from .wiring import SLOTS, FakeEngine, Row, hold, link_of, make_models

Started = tuple[int, asyncio.Future[None]]


class Asker:
    """A request, as a future: done with the last of its rows."""

    def __init__(self, rows: int = 1) -> None:
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waits_for = rows

    def row_done(self) -> None:
        self.waits_for -= 1
        if not self.waits_for:
            self.answered.set_result(None)

    def fail(self, error: InferctlError) -> None:
        self.answered.set_exception(error)


@dataclass
class Line:
    model: ServedModel
    models: list[ServedModel]
    link: EngineLink
    engine: FakeEngine

    def start(self) -> Started:
        [slot] = hold(self.model, 1)
        return slot, self.submit(self.model, slot)

    def submit(self, model: ServedModel, *slots: int) -> asyncio.Future[None]:
        asker = Asker(len(slots))
        self.link.submit(model, slots, asker, time.monotonic())
        return asker.answered

    async def next_engine(self) -> FakeEngine:
        """The engine dies, and another one comes."""
        self.engine.die()
        await look_once()
        assert not self.link.attached
        self.engine = FakeEngine(self.models, None).connect(self.link)
        return self.engine

    def free(self) -> int:
        """Slots that can be had now; they are given back."""
        taken: list[int] = []
        try:
            while True:
                taken += hold(self.model, 1)
        except Overloaded:
            assert len(set(taken)) == len(taken)
        for slot in reversed(taken):
            self.model.give_back(slot)
        return len(taken)


@asynccontextmanager
async def line(*, attached: bool = True, slots: int = SLOTS) -> AsyncIterator[Line]:
    models = make_models(classifier(), detector(), slots=slots)
    link, engine = link_of(*models), FakeEngine(models, None)
    if attached:
        engine.connect(link)
    it = Line(models[0], models, link, engine)
    try:
        yield it
    finally:
        link.detach()
        it.engine.die()


def rows(engine: FakeEngine) -> list[Row]:
    """What was submitted since the last look."""
    return [engine.submitted.get_nowait() for _ in range(engine.submitted.qsize())]
