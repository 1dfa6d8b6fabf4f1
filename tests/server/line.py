"""One model's rows on a link, and engines that come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from inferctl.errors import Overloaded
from inferctl.server.link import EngineLink
from inferctl.server.served import ServedModel
from tests.tasks.tinybundles import classifier, detector

from .loop import look_once
from .wiring import SLOTS, FakeEngine, Row, make_models


@dataclass
class Line:
    model: ServedModel
    models: list[ServedModel]
    link: EngineLink
    engine: FakeEngine

    def start(self) -> tuple[int, asyncio.Future[None]]:
        slot = self.model.admit()
        return slot, self.link.start(self.model, slot)

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
                taken.append(self.model.admit())
        except Overloaded:
            assert len(set(taken)) == len(taken)
        for slot in reversed(taken):
            self.model.give_back(slot)
        return len(taken)


@asynccontextmanager
async def line(*, attached: bool = True, slots: int = SLOTS) -> AsyncIterator[Line]:
    models = make_models(classifier(), detector(), slots=slots)
    link, engine = EngineLink(models), FakeEngine(models, None)
    if attached:
        engine.connect(link)
    it = Line(models[0], models, link, engine)
    yield it
    link.detach()
    it.engine.die()


def rows(engine: FakeEngine) -> list[Row]:
    """What was submitted since the last look."""
    return [engine.submitted.get_nowait() for _ in range(engine.submitted.qsize())]
