"""Candidates whose capacities are known, and a prober that offers them rates without a server."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from inferctl.bench.slo import Judged, Slo
from inferctl.tune.race import Spent
from inferctl.tune.space import Candidate, Space, Variant

SLO = Slo(99, 50)
FP32 = Variant("/models/net/1", "net", 1, "fp32")
INT8 = Variant("/models/net/2", "net", 2, "int8")
BASE = Candidate(FP32, ("auto", "auto"), "auto", "auto", 0.0, "fast")
SPACE = Space(
    BASE,
    {
        "variant": (FP32, INT8),
        "layout": (("auto", "auto"), (1, 2), (1, 1)),
        "workers": ("auto", 1),
        "batch": ("auto", 1, 8, 32),
        "wait": (0.0, 2.0, 5.0),
    },
)


def capacity_per_s(candidate: Candidate) -> float:
    """Int8 and batches of 8 are better, and one worker is; together they are best."""
    return (
        100.0
        * (1.5 if candidate.variant == INT8 else 1.0)
        * {"auto": 1.0, 1: 0.7, 8: 1.2, 32: 0.9}[candidate.batch]
        * (1.1 if candidate.workers == 1 else 1.0)
        * {("auto", "auto"): 1.0, (1, 2): 0.9, (1, 1): 0.6}[candidate.layout]
        * (1 - candidate.wait / 100)
    )


@dataclass
class Modelled:
    """Keeps the limit up to a capacity, which is off by some `noise` each time.

    `drift` is what the machine gives at a measurement's number; `most` is when the time is up.
    """

    capacity_per_s: Callable[[Candidate], float] = capacity_per_s
    noise: float = 0.0
    drift: Callable[[int], float] = lambda number: 1.0
    most: int = 10_000
    client_per_s: float = 1e9
    cpu_ms: Callable[[Candidate], float] = lambda candidate: 1.0
    seed: int = 0
    asked: list[tuple[Candidate, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def __call__(self, candidate: Candidate, rate_per_s: float) -> Judged:
        """A measurement."""
        if len(self.asked) >= self.most:
            raise Spent
        given = self.drift(len(self.asked)) * (1 + self.rng.uniform(-self.noise, self.noise))
        self.asked.append((candidate, rate_per_s))
        most_per_s = min(given * self.capacity_per_s(candidate), self.client_per_s)
        late = 300 if rate_per_s > most_per_s else 0
        cpu_ms, cores = self.cpu_ms(candidate), rate_per_s / self.client_per_s
        return Judged(
            rate_per_s, 2.0, 1000, late, rate_per_s, 20.0 + late, 5.0, cpu_ms, None, cores
        )

    def times(self) -> Counter[Candidate]:
        """How often each was measured."""
        return Counter(candidate for candidate, _ in self.asked)


def best_per_s() -> float:
    """The highest capacity of the grid."""
    return max(map(capacity_per_s, SPACE.all()))
