"""A limit on latency, and whether what was measured at a rate keeps it.

Pure arithmetic; nothing here knows how requests are sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inferctl.bench.figures import nearest_rank
from inferctl.bench.measurement import Measurement
from inferctl.bench.windows import BUSY_CORES
from inferctl.errors import UsageError

# A percentile is judged by so many requests beyond it: their number is off by a third or less.
BEYOND = 10
# A queue that grows is seen once it is longer than the limit. Within so many times the limit, one
# that grows by a thirtieth of the rate becomes so long.
LIMITS_LONG = 30
# What is shorter shows the generator's start more than the server.
SHORTEST_S = 2.0

# A percentile below 100, as people write it.
PERCENTILE = r"p(\d{1,2}(?:\.\d{1,3})?)"
_TEXT = re.compile(PERCENTILE + r"\s*<=?\s*(\d+(?:\.\d+)?)\s*(us|ms|s)")
_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Slo:
    """At least `percent` % of the requests sent are answered well within `limit_ms`.

    A request that fails, or has no answer, is late: fast refusals do not keep a limit.
    """

    percent: float
    limit_ms: float

    def __str__(self) -> str:
        return f"p{self.percent:g}<{self.limit_ms:g}ms"

    @property
    def late_allowed(self) -> float:
        """The share of the requests that may be late."""
        return 1 - self.percent / 100

    def probe_s(self, rate_per_s: float, longest_s: float = math.inf) -> float:
        """How long a rate must be offered to judge it: enough requests, and time for a queue."""
        requests_s = BEYOND / self.late_allowed / rate_per_s
        return min(max(SHORTEST_S, requests_s, LIMITS_LONG * self.limit_ms / 1000), longest_s)


@dataclass(frozen=True, slots=True)
class Judged:
    """What was offered at a rate, and how it was answered.

    `latency_ms` is the percentile that the limit is on, infinite where more requests failed than
    may be late; `within_per_s` are the answers within the limit (goodput). `cpu_ms` is the server's
    CPU per request. `client_limited` is why the generator could have been the limit: what it was
    late by is in the latencies, so that a limit was kept all the same, and was perhaps missed for
    that. `generator_cores` is what its busiest process used, of the one that it can.
    """

    rate_per_s: float
    seconds: float
    sent: int
    late: int
    within_per_s: float
    latency_ms: float
    p50_ms: float
    cpu_ms: float | None = None
    client_limited: str | None = None
    generator_cores: float | None = None

    @property
    def is_generator_full(self) -> bool:
        """Whether the generator could not have sent more, had the server answered it."""
        return (self.generator_cores or 0.0) > BUSY_CORES


def parse_slo(text: str) -> Slo:
    """Read `p99<50ms`, `p95 <= 0.2s`, `p99.9<800us`. Raises UsageError."""
    match = _TEXT.fullmatch(text.strip())
    percent, limit, unit = match.groups() if match else ("0", "0", "ms")
    slo = Slo(float(percent), float(limit) * _MS[unit])
    if not slo.percent or not slo.limit_ms:
        raise UsageError(
            f"{text!r} is no limit on latency", where="--slo", hint="write 'p99<50ms', in quotes"
        )
    return slo


def judge(measurement: Measurement, slo: Slo) -> Judged:
    """What a measurement says about a limit; one that failed kept none."""
    if measurement.failure is not None:
        return nothing_at(measurement.load.rate_per_s or 0.0)
    client, latencies_ms = measurement.client, measurement.latencies_ms
    sent = client.answered + client.failed
    within = int((latencies_ms <= slo.limit_ms).sum())
    return Judged(
        rate_per_s=measurement.load.rate_per_s or client.throughput_per_s,
        seconds=measurement.duration_s,
        sent=sent,
        late=sent - within,
        within_per_s=within / measurement.duration_s if measurement.duration_s else 0.0,
        latency_ms=_percentile(np.sort(latencies_ms), sent, slo.percent),
        p50_ms=client.latency.p50_ms if client.latency else math.inf,
        cpu_ms=measurement.server.cpu_ms_per_request,
        client_limited=measurement.client_limited,
        generator_cores=measurement.generator_cpu_cores,
    )


def nothing_at(rate_per_s: float, seconds: float = 0.0) -> Judged:
    """What is known of a server that answered nothing for so long: as good as all was late."""
    many = 1000
    return Judged(rate_per_s, seconds, many, many, 0.0, math.inf, math.inf)


def is_met(judged: Sequence[Judged], slo: Slo) -> bool:
    """Whether measurements at one rate, taken together, keep the limit."""
    sent, late = sum(one.sent for one in judged), sum(one.late for one in judged)
    # 10 % of 10 is one, which floats miss by a little.
    return sent > 0 and late <= slo.late_allowed * sent + 1e-6


def _percentile(ordered_ms: np.typing.NDArray[np.float64], sent: int, percent: float) -> float:
    """The nearest-rank percentile of all that were sent; those without an answer come last."""
    rank = nearest_rank(percent, sent)
    return float(ordered_ms[rank - 1]) if rank <= len(ordered_ms) else math.inf
