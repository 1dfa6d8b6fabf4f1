"""A model that can be held and poisoned, and the verdicts that runners deliver."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import cast

from inferctl.arena.ledger import Block, Ledger, ledger_bytes
from inferctl.arena.memory import create_memory, map_memory
from inferctl.arena.slots import ModelArena
from inferctl.arena.wire import Verdict
from inferctl.engine.batcher import Batcher
from inferctl.engine.model import Model
from inferctl.engine.runner import Runner
from inferctl.engine.session import RunFailed
from tests.graphs import image_manifest, new_arena

# Longer than any test takes; reached only by one that fails.
TIMEOUT_S = 10.0


class FakeModel:
    """Runs nothing. While `open` is not set its runs do not end."""

    def __init__(self, poisoned: Sequence[int] = ()) -> None:
        self.manifest = image_manifest()
        self.poisoned = frozenset(poisoned)
        self.began: SimpleQueue[list[int]] = SimpleQueue()
        self.ran: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()

    def run(self, arena: ModelArena, slots: Sequence[int]) -> None:
        """Fail if one of the slots is poisoned."""
        self.began.put(list(slots))
        assert self.open.wait(TIMEOUT_S)
        self.ran.append(list(slots))
        if self.poisoned.intersection(slots):
            raise RunFailed("poison")


class Verdicts:
    """Every verdict delivered, slot by slot."""

    def __init__(self) -> None:
        self._delivered: SimpleQueue[tuple[int, Verdict]] = SimpleQueue()

    def deliver(self, slots: Sequence[int], verdict: Verdict) -> None:
        """What a runner calls."""
        for slot in slots:
            self._delivered.put((slot, verdict))

    def take(self, count: int) -> dict[int, Verdict]:
        """The next `count` verdicts; no slot may have two."""
        taken = [self._delivered.get(timeout=TIMEOUT_S) for _ in range(count)]
        by_slot = dict(taken)
        assert len(by_slot) == count, f"two verdicts for a slot: {taken}"
        return by_slot

    def none_left(self) -> bool:
        """Whether every verdict was taken."""
        return self._delivered.empty()


class Bench:
    """A runner of a fake model with everything around it."""

    def __init__(self, model: FakeModel, batcher: Batcher, slots: int = 64) -> None:
        self.model = model
        self.verdicts = Verdicts()
        self.arena = new_arena(model.manifest, slots, workers=2)
        self.arena.deadline_s[:] = time.monotonic() + 1000
        self.block = self._new_block()
        self.runner = Runner(
            cast(Model, model), self.arena, batcher, self.block, self.verdicts.deliver
        )

    def _new_block(self) -> Block:
        memory = map_memory(create_memory("ledger", ledger_bytes(1, 2)))
        return Ledger(memory, [self.model.manifest.name], 0).blocks[Ledger.ENGINE]

    def count(self, name: str, value: str = "") -> float:
        """A counter or gauge of the model."""
        return self.block.cell(name, self.model.manifest.name, value).get()

    def cells(self, name: str) -> list[float]:
        """The cells of a histogram of the model."""
        (found,) = (cells for metric, _, _, cells in self.block.series() if metric.name == name)
        return found

    def hold(self, slot: int) -> None:
        """Occupy a runner with a row, until `model.open` is set."""
        self.model.open.clear()
        self.runner.submit([slot])
        assert self.model.began.get(timeout=TIMEOUT_S) == [slot]
