"""Records and scrapes become windows; whether the generator was the limit is read from them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inferctl.bench.exposition import Scrape
from inferctl.bench.figures import (
    Requests,
    answered_well,
    begun_between,
    client_figures,
    latencies_ms,
    order_statistic,
    server_figures,
)
from inferctl.bench.measurement import Window

# Above this share of its one core a generator is late with sending and with taking the time.
BUSY_CORES = 0.8
# One request in a hundred this late is told of, or later than this share of the median latency.
LATE_MS, LATE_SHARE = 1.0, 0.1


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where a window ends and the next begins: when, what the server had counted, and the CPU
    seconds that each process of the generator had used.
    """

    at_s: float
    scraped: Scrape | None
    generator_cpu_s: list[float] | None


def windows_between(
    boundaries: Sequence[Boundary], requests: Requests, begun_s: float, model: str
) -> tuple[Window, ...]:
    """The windows of a load that began at `begun_s` of the monotonic clock."""
    pairs = itertools.pairwise(boundaries)
    return tuple(_window(first, last, requests, begun_s, model) for first, last in pairs)


def _window(
    first: Boundary, last: Boundary, requests: Requests, begun_s: float, model: str
) -> Window:
    good = begun_between(requests, first.at_s, last.at_s)
    good = good[answered_well(good)]
    good = good[np.argsort(good[:, 0], kind="stable")]
    return Window(
        begun_s=first.at_s - begun_s,
        duration_s=last.at_s - first.at_s,
        client=client_figures(requests, first.at_s, last.at_s),
        server=server_figures(first.scraped, last.scraped, model),
        generator_cpu_cores=busiest(first, last),
        latencies_ms=latencies_ms(good),
        begins_s=good[:, 0] - first.at_s,
    )


def busiest(first: Boundary, last: Boundary) -> float | None:
    """CPU seconds per second of the busiest process between; None where they are not known."""
    if first.generator_cpu_s is None or last.generator_cpu_s is None:
        return None
    used = zip(first.generator_cpu_s, last.generator_cpu_s, strict=True)
    return max(after - before for before, after in used) / (last.at_s - first.at_s)


def client_limit(cores: float | None, requests: Requests, crowded: bool) -> str | None:
    """Why the generator, not the server, was the limit of windows; None if it was not.

    `cores` are those that its busiest process used, `requests` those that were to begin in them.
    """
    if cores is not None and cores > BUSY_CORES:
        return f"the load generator used {cores:.0%} of a core"
    if not len(requests):
        return None
    late_ms = order_statistic(np.sort((requests[:, 1] - requests[:, 0]) * 1000), 99)
    usual_ms = order_statistic(np.sort(latencies_ms(requests)), 50)
    if late_ms <= max(LATE_MS, LATE_SHARE * usual_ms):
        return None
    reason = "all connections that it may open were busy" if crowded else "it had no core to itself"
    return (
        f"the load generator sent one request in a hundred {late_ms:.1f} ms late or more, "
        f"which is in the latencies: {reason}"
    )
