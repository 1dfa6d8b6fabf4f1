"""Pure arithmetic: recorded requests become latencies, two scrapes become the server's figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

# Rows of (begun in monotonic seconds, latency in seconds, HTTP status or 0 for no answer).
Requests: TypeAlias = NDArray[np.float64]
# Every sample of an exposition, by its name and its sorted labels.
Scrape: TypeAlias = dict[tuple[str, tuple[tuple[str, str], ...]], float]

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


def client_figures(requests: Requests, begun_s: float, ended_s: float) -> ClientFigures:
    """Figures of the requests begun in [begun_s, ended_s) of the monotonic clock.

    Requests belong to the window by their beginning: one that began in it counts with its whole
    latency although it ended later, so that slow answers are not left out.
    """
    inside = requests[(requests[:, 0] >= begun_s) & (requests[:, 0] < ended_s)]
    good = (inside[:, 2] >= 200) & (inside[:, 2] < 300)
    statuses = Counter(int(status) for status in inside[~good, 2])
    answered = int(good.sum())
    return ClientFigures(
        answered=answered,
        throughput_per_s=answered / (ended_s - begun_s),
        latency=_latency(inside[good, 1]) if answered else None,
        errors={str(status or NO_ANSWER): statuses[status] for status in sorted(statuses)},
        outside_window=len(requests) - len(inside),
    )


def order_statistic(ordered: NDArray[np.float64], percent: int) -> float:
    """The nearest-rank percentile of ascending values: the smallest that `percent` % do not exceed.

    It is the value of rank ceil(percent / 100 * n), one that was measured; nothing is interpolated
    or rounded. `percent` is 1 to 100, `ordered` has at least one value.
    """
    return float(ordered[-(-percent * len(ordered) // 100) - 1])


def _latency(latencies_s: NDArray[np.float64]) -> Latency:
    ordered = np.sort(latencies_s) * 1000
    return Latency(
        mean_ms=float(ordered.mean()),
        p50_ms=order_statistic(ordered, 50),
        p90_ms=order_statistic(ordered, 90),
        p95_ms=order_statistic(ordered, 95),
        p99_ms=order_statistic(ordered, 99),
        max_ms=float(ordered[-1]),
    )


def read_metrics(text: str) -> Scrape:
    """Read a Prometheus text exposition. Raises ValueError when it is none."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def server_figures(before: Scrape | None, after: Scrape | None, model: str) -> ServerFigures:
    """What changed between two scrapes of a server, for `model`."""
    change = _Change(before, after)
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
    )


class _Change:
    """Differences of counters; a series that a scrape lacks, or that went back, has none."""

    def __init__(self, before: Scrape | None, after: Scrape | None) -> None:
        # A series may come to life within the window, so one that only `after` has began at zero.
        # Without any scrape before, nothing is known of where it began.
        self._before = before or {}
        self._after = after if after and before is not None else {}

    def of(self, name: str, **labels: str) -> float | None:
        """The growth of the series that have these labels, of whatever versions, together."""
        now = _having(self._after, name, labels)
        if not now:
            return None
        growth = sum(now) - sum(_having(self._before, name, labels))
        return growth if growth >= 0 else None

    def by_label(self, name: str, label: str, **labels: str) -> dict[str, float] | None:
        """The growth of each series of a name, by the value of one label; None without any."""
        found = {}
        values = [dict(pairs).get(label) for series, pairs in self._after if series == name]
        for value in dict.fromkeys(values):
            if value is not None:
                growth = self.of(name, **labels, **{label: value})
                if growth is not None:
                    found[value] = growth
        return found or None

    def mean(self, histogram: str, model: str) -> float | None:
        """The mean of the values observed between the scrapes."""
        total = self.of(f"{histogram}_sum", model=model)
        count = self.of(f"{histogram}_count", model=model)
        return total / count if total is not None and count else None


def _having(scrape: Scrape, name: str, labels: dict[str, str]) -> list[float]:
    """The values of a name's series that have these labels."""
    wanted = labels.items()
    return [
        value
        for (series, pairs), value in scrape.items()
        if series == name and wanted <= dict(pairs).items()
    ]


def _histogram(change: _Change, model: str) -> list[BatchBucket] | None:
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


def _whole(counts: dict[str, float] | None) -> dict[str, int] | None:
    if counts is None:
        return None
    # Outcomes that never happened would hide those that did.
    return {name: int(count) for name, count in counts.items() if count}
