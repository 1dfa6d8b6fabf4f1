"""A model that can be held and poisoned, and the verdicts that runners deliver."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, cast

from inferctl.arena.ledger import Block, Ledger, ledger_bytes
from inferctl.arena.memory import create_memory, map_memory
from inferctl.arena.metrics import metric_of
from inferctl.arena.slots import ModelArena
from inferctl.arena.wire import Verdict
from inferctl.engine.costs import CostCurve
from inferctl.engine.crew import Crew
from inferctl.engine.instance import Instance
from inferctl.engine.model import Model
from inferctl.engine.occupancy import Occupancy
from inferctl.engine.runner import Runner
from inferctl.engine.session import Ended, OutOfMemory, RunFailed
from inferctl.engine.sizing import Sizing
from inferctl.engine.warmup import Warm
from inferctl.engine.watchdog import Watchdog
from inferctl.engine.wide import Wide
from inferctl.settings import BatchingSettings
from tests.graphs import image_manifest, new_arena

# Longer than any test takes; reached only by one that fails.
TIMEOUT_S = 10.0
# Of the only model.
PLACE = 0


def warmed(
    max_batch_rows: int, seconds: float = 0.01, sizes: Sequence[int] = (), fits: int = 0
) -> Warm:
    """What a warm-up of a model that takes `seconds` per row would have found."""
    curve = CostCurve()
    curve.measured(1, seconds)
    return Warm(max_batch_rows, sizes, fits, 1, curve)


class FakeModel:
    """Runs nothing. While `open` is not set its runs do not end."""

    def __init__(self, poisoned: Sequence[int] = (), memory_rows: int = 1000) -> None:
        self.manifest = image_manifest()
        self.poisoned = frozenset(poisoned)
        self.memory_rows = memory_rows
        self.has_tokens = False
        self.on_cuda = False
        self.clock = time.monotonic
        self.wide: Wide | None = None
        self.instances: list[object | None] = []
        self.began: SimpleQueue[list[int]] = SimpleQueue()
        self.ran: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()

    def run(
        self,
        arena: ModelArena,
        slots: Sequence[int],
        instance: object | None = None,
        options: Any = None,
    ) -> int:
        """Fail if one of the slots is poisoned, if there are too many for the memory, or if the
        options say so."""
        self.began.put(list(slots))
        assert self.open.wait(TIMEOUT_S)
        self.ran.append(list(slots))
        self.instances.append(instance)
        if self.poisoned.intersection(slots):
            raise RunFailed("poison")
        if len(slots) > self.memory_rows:
            raise OutOfMemory("Failed to allocate memory for requested buffer")
        if options and options.terminate:
            raise Ended("Exiting due to terminate flag being set to true.")
        longest = int(arena.tokens[list(slots)].max()) if self.has_tokens else 1
        return len(slots) * longest


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

    def __init__(
        self, model: FakeModel, max_batch_rows: int, slots: int = 64, seconds: float = 0.01
    ) -> None:
        self.model = model
        self.verdicts = Verdicts()
        self.arena = new_arena(model.manifest, slots, workers=2)
        self.arena.deadline_s[:] = time.monotonic() + 1000
        self.block = self._new_block()
        self.occupancy = Occupancy()
        self.watchdog = Watchdog(self.block)
        self.sizing = Sizing(
            model.manifest.name,
            PLACE,
            self.block,
            warmed(max_batch_rows, seconds),
            BatchingSettings(),
            1,
        )
        self.runner = Runner(
            cast(Model, model),
            self.arena,
            self.sizing,
            PLACE,
            self.block,
            self.verdicts.deliver,
            self.occupancy,
            self.watchdog,
        )

    def _new_block(self) -> Block:
        memory = map_memory(create_memory("ledger", ledger_bytes(2)))
        return Ledger(memory, 0).blocks[Ledger.ENGINE]

    def start(self, instances: int) -> None:
        """Start the runner with as many threads."""
        nothing = cast(Instance, None)  # a fake model runs on nothing
        self.runner.start(Crew(self.model.manifest.name, [nothing] * instances))

    def count(self, name: str, value: str = "") -> float:
        """A counter or gauge of the model."""
        return self.block.cell(name, PLACE, value).get()

    def cells(self, name: str) -> list[float]:
        """The cells of a histogram of the model."""
        return self.block.read(metric_of(name), PLACE)

    def hold(self, slot: int) -> None:
        """Occupy a runner with a row, until `model.open` is set."""
        self.model.open.clear()
        self.runner.submit([slot])
        assert self.model.began.get(timeout=TIMEOUT_S) == [slot]
