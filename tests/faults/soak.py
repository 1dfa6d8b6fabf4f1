"""A service under a steady load for long, weighed every ten seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.service import Service
from tests.faults.bad import bad_set
from tests.faults.chaos import Seen
from tests.faults.good import good_set
from tests.faults.kept import address_of
from tests.faults.load import Load, Mixture, seen_by
from tests.faults.memory import Sample, Scales, Trend, trend_of, write_report

Say = Callable[[str], None]

SAMPLE_S = 10.0
PART_S = 60.0
MAX_WARM_UP_S = 300.0


@dataclass
class Soak:
    """What came of it."""

    rate: float
    samples: list[Sample] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)

    @property
    def trend(self) -> Trend:
        return trend_of(self.samples)


def soak(service: Service, minutes: float, load: float, seed: int, say: Say) -> Soak:
    """Warm it up, then load it with a share of what it can do.

    Before the first sample is taken five minutes go by, or a third of a short run.
    """
    address = address_of(service.url)
    mixture = Mixture(address, good_set(address), bad_set())
    scales = Scales(service.process.pid)
    with Load(mixture, seed) as clients:
        capacity = clients.capacity()
        done = Soak(capacity * load)
        say(f"soak: seed {seed}, {done.rate:,.0f} of {capacity:,.0f} requests a second")
        warm_up_s = min(MAX_WARM_UP_S, 60 * minutes / 3)
        _soak_part(done, clients, scales, warm_up_s, say)
        done.samples.clear()
        _soak_part(done, clients, scales, 60 * minutes, say)
    return done


def _soak_part(done: Soak, clients: Load, scales: Scales, seconds: float, say: Say) -> None:
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 1.0:
        asking = clients.begin(done.rate, min(left_s, PART_S))
        done.samples += weighed(scales, asking)
        done.seen.add(seen_by(asking))
        mib = done.samples[-1].mib
        say(f"soak: {done.seen.asked:,} asked, {len(done.seen.wrong)} wrong, {mib:.1f} MiB")


def weighed(scales: Scales, asking: list[Future[Seen]]) -> list[Sample]:
    """Samples at even distances until everybody has asked."""
    samples = []
    while not all(part.done() for part in asking):
        samples.append(Sample(time.monotonic(), scales.weigh_mib()))
        wait(asking, SAMPLE_S)
    return samples


def report(done: Soak, folder: Path, name: str, seed: int) -> Path:
    """As JSON and a picture."""
    seen = done.seen
    facts: dict[str, object] = {
        "seed": seed,
        "requests_per_s": round(done.rate, 1),
        "asked": seen.asked,
        "right": seen.right,
        "refused": seen.refused,
        "abandoned": seen.abandoned,
        "wrong": seen.wrong[:20],
        "statuses": dict(sorted(seen.statuses.items())),
    }
    return write_report(folder, name, done.samples, done.trend, facts)
