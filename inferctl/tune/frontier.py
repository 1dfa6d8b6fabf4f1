"""What was measured as points of goodput and latency, and those that no other point surpasses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inferctl.bench.slo import Judged
from inferctl.tune.space import Candidate


@dataclass(frozen=True, slots=True)
class Spot:
    """A measurement: answers within the limit per second, and the latency at the percentile."""

    candidate: Candidate
    judged: Judged

    @property
    def per_s(self) -> float:
        """Goodput."""
        return self.judged.within_per_s

    @property
    def latency_ms(self) -> float:
        """At the limit's percentile."""
        return self.judged.latency_ms


def spots(probes: Mapping[Candidate, Iterable[Judged]]) -> list[Spot]:
    """All measurements whose percentile has an end."""
    return [
        Spot(candidate, judged)
        for candidate, found in probes.items()
        for judged in found
        if math.isfinite(judged.latency_ms) and judged.within_per_s > 0
    ]


def frontier(found: Iterable[Spot]) -> list[Spot]:
    """Those than which none has more goodput at no more latency, by ascending goodput."""
    best: list[Spot] = []
    for spot in sorted(found, key=lambda one: (-one.per_s, one.latency_ms)):
        if not best or spot.latency_ms < best[-1].latency_ms:
            best.append(spot)
    return best[::-1]
