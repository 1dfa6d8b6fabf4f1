"""Pure arithmetic: recorded requests become latencies, two scrapes become the server's figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from inferctl.bench.exposition import Change, Scrape
from inferctl.bench.gpus import GpuFigures, gpus_of

# Rows of when a request was to begin, when it did and when it ended (monotonic clock, seconds), and
# its HTTP status, or 0 for no answer.
Requests: TypeAlias = NDArray[np.float64]

NO_ANSWER = "no_answer"


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; the percentiles are latencies that were measured, see `order_statistic`."""

    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


@dataclass(frozen=True, slots=True)
class ClientFigures:
    """What the generator saw of the requests that it began inside the window.

    `answered` counts status 2xx, and `latency` is theirs; `errors` counts the others by status,
    `no_answer` for broken or abandoned connections. `outside_window` were sent in the warm-up or
    after the window.
    """

    answered: int
    throughput_per_s: float
    latency: Latency | None
    errors: dict[str, int]
    outside_window: int

    @property
    def failed(self) -> int:
        """Requests of the window without a good answer."""
        return sum(self.errors.values())


@dataclass(frozen=True, slots=True)
class BatchBucket:
    """`batches` ran with `first_rows` to `last_rows` rows; no last for the open bucket."""

    first_rows: int
    last_rows: int | None
    batches: int


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """What the server counted in the window; None is a series that it does not have.

    `cpu_ms_per_request` is the CPU of all its processes over the requests that it answered well.
    `request_mean_ms` is from a request's headers to its answer, of those answered well; `queue` and
    `decode` are means of rows, `run` of batches, `postprocess` of requests. `resident_bytes` are of
    the end of the window.
    """

    requests_by_outcome: dict[str, int] | None
    batches: int | None
    mean_batch_rows: float | None
    batch_histogram: list[BatchBucket] | None
    queue_mean_ms: float | None
    decode_mean_ms: float | None
    run_mean_ms: float | None
    cpu_s_by_role: dict[str, float] | None
    cpu_ms_per_request: float | None
    postprocess_mean_ms: float | None = None
    request_mean_ms: float | None = None
    resident_bytes_by_role: dict[str, int] | None = None
    gpus: list[GpuFigures] | None = None


def client_figures(requests: Requests, begun_s: float, ended_s: float) -> ClientFigures:
    """Figures of the requests that were to begin in [begun_s, ended_s) of the monotonic clock.

    They belong to the window by that: one that began in it counts with its whole latency although
    it ended later, so that slow answers are not left out. The latency is from when a request was to
    begin, not from when the generator came to it.
    """
    inside = begun_between(requests, begun_s, ended_s)
    good = answered_well(inside)
    statuses = Counter(int(status) for status in inside[~good, 3])
    answered = int(good.sum())
    return ClientFigures(
        answered=answered,
        throughput_per_s=answered / (ended_s - begun_s),
        latency=latency_of(latencies_ms(inside[good])) if answered else None,
        errors={str(status or NO_ANSWER): statuses[status] for status in sorted(statuses)},
        outside_window=len(requests) - len(inside),
    )


def begun_between(requests: Requests, begun_s: float, ended_s: float) -> Requests:
    """Those that were to begin in [begun_s, ended_s)."""
    return requests[(requests[:, 0] >= begun_s) & (requests[:, 0] < ended_s)]


def answered_well(requests: Requests) -> NDArray[np.bool_]:
    """Which of them have a status of 2xx."""
    good: NDArray[np.bool_] = (requests[:, 3] >= 200) & (requests[:, 3] < 300)
    return good


def latencies_ms(requests: Requests) -> NDArray[np.float64]:
    """From when each was to begin to its end."""
    return (requests[:, 2] - requests[:, 0]) * 1000


def nearest_rank(percent: float, count: int) -> int:
    """The rank of a percentile among `count` values, at least one, 1 being the smallest: that of
    the smallest value that `percent` % do not exceed. `percent` is above 0 up to 100.
    """
    # 99.9 % of 1000 are 999, which floats miss by a little.
    return max(math.ceil(round(percent * count / 100, 6)), 1)


def order_statistic(ordered: NDArray[np.float64], percent: float) -> float:
    """The nearest-rank percentile of ascending values, of which there is at least one.

    It is one that was measured; nothing is interpolated or rounded.
    """
    return float(ordered[nearest_rank(percent, len(ordered)) - 1])


def latency_of(of_ms: NDArray[np.float64]) -> Latency:
    """Figures of at least one latency, in whatever order."""
    ordered = np.sort(of_ms)
    return Latency(
        mean_ms=float(ordered.mean()),
        p50_ms=order_statistic(ordered, 50),
        p90_ms=order_statistic(ordered, 90),
        p95_ms=order_statistic(ordered, 95),
        p99_ms=order_statistic(ordered, 99),
        max_ms=float(ordered[-1]),
    )


def server_figures(before: Scrape | None, after: Scrape | None, model: str) -> ServerFigures:
    """What changed between two scrapes of a server, for `model`."""
    change = Change(before, after)
    outcomes = change.by_label("inference_requests_total", "outcome", model=model)
    cpu_s = change.by_label("inferctl_process_cpu_seconds_total", "role")
    answered = outcomes.get("ok", 0.0) if outcomes else 0.0
    batches = change.of("inference_batch_size_count", model=model)
    return ServerFigures(
        requests_by_outcome=_whole(outcomes),
        batches=None if batches is None else int(batches),
        mean_batch_rows=change.mean("inference_batch_size", model),
        batch_histogram=_histogram(change, model),
        queue_mean_ms=_ms(change.mean("inferctl_queue_seconds", model)),
        decode_mean_ms=_ms(change.mean("inferctl_decode_seconds", model)),
        run_mean_ms=_ms(change.mean("inferctl_run_seconds", model)),
        cpu_s_by_role=cpu_s,
        cpu_ms_per_request=_ms(sum(cpu_s.values()) / answered) if cpu_s and answered else None,
        postprocess_mean_ms=_ms(change.mean("inferctl_postprocess_seconds", model)),
        request_mean_ms=_ms(change.good_request_s(model)),
        resident_bytes_by_role=_bytes(
            change.last_by_label("inferctl_process_resident_memory_bytes", "role")
        ),
        gpus=gpus_of(before, after),
    )


def _histogram(change: Change, model: str) -> list[BatchBucket] | None:
    """Batches per range of rows: the cumulative buckets of the exposition, taken apart."""
    found = change.by_label("inference_batch_size_bucket", "le", model=model)
    if found is None:
        return None
    cumulative = sorted((float(bound), count) for bound, count in found.items())
    buckets: list[BatchBucket] = []
    first, below = 1, 0.0
    for bound, count in cumulative:
        last = None if bound == float("inf") else int(bound)
        buckets.append(BatchBucket(first, last, int(count - below)))
        first, below = (last or 0) + 1, count
    return _without_empty_tail(buckets)


def _without_empty_tail(buckets: Sequence[BatchBucket]) -> list[BatchBucket]:
    used = [number for number, bucket in enumerate(buckets) if bucket.batches]
    return list(buckets[: used[-1] + 1]) if used else []


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1000


def _bytes(sizes: dict[str, float] | None) -> dict[str, int] | None:
    return None if sizes is None else {name: int(size) for name, size in sizes.items()}


def _whole(counts: dict[str, float] | None) -> dict[str, int] | None:
    if counts is None:
        return None
    # Outcomes that never happened would hide those that did.
    return {name: int(count) for name, count in counts.items() if count}
