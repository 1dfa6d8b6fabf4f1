"""What a server did in several windows as one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from statistics import fmean

from inferctl.bench.figures import BatchBucket, ServerFigures
from inferctl.bench.gpus import GpuFigures


def together(servers: Sequence[ServerFigures]) -> ServerFigures:
    """Figures of windows as those of one; what a window does not know, none does."""
    answered = [(one.requests_by_outcome or {}).get("ok", 0) for one in servers]
    batches = [one.batches or 0 for one in servers]

    def mean(of: Callable[[ServerFigures], float | None], weights: list[int]) -> float | None:
        values = [of(one) for one in servers]
        known = [(v, w) for v, w in zip(values, weights, strict=True) if v is not None and w]
        total = sum(weight for _, weight in known)
        return sum(value * weight for value, weight in known) / total if total else None

    return ServerFigures(
        requests_by_outcome=_sum_whole([one.requests_by_outcome for one in servers]),
        batches=None if any(one.batches is None for one in servers) else sum(batches),
        mean_batch_rows=mean(lambda one: one.mean_batch_rows, batches),
        batch_histogram=_sum_buckets([one.batch_histogram for one in servers]),
        queue_mean_ms=mean(lambda one: one.queue_mean_ms, answered),
        decode_mean_ms=mean(lambda one: one.decode_mean_ms, answered),
        run_mean_ms=mean(lambda one: one.run_mean_ms, batches),
        cpu_s_by_role=_sum([one.cpu_s_by_role for one in servers]),
        cpu_ms_per_request=mean(lambda one: one.cpu_ms_per_request, answered),
        postprocess_mean_ms=mean(lambda one: one.postprocess_mean_ms, answered),
        request_mean_ms=mean(lambda one: one.request_mean_ms, answered),
        resident_bytes_by_role=servers[-1].resident_bytes_by_role if servers else None,
        gpus=_mean_gpus([one.gpus or [] for one in servers]),
    )


def _sum(parts: Iterable[dict[str, float] | None]) -> dict[str, float] | None:
    total: dict[str, float] = {}
    for part in parts:
        if part is None:
            return None
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total


def _sum_whole(parts: Iterable[dict[str, int] | None]) -> dict[str, int] | None:
    total = _sum(None if part is None else dict(part.items()) for part in parts)
    return None if total is None else {name: int(count) for name, count in total.items()}


def _sum_buckets(parts: Iterable[list[BatchBucket] | None]) -> list[BatchBucket] | None:
    total: dict[int, BatchBucket] = {}
    for part in parts:
        if part is None:
            return None
        for bucket in part:
            before = total.get(bucket.first_rows)
            batches = bucket.batches + (before.batches if before else 0)
            total[bucket.first_rows] = BatchBucket(bucket.first_rows, bucket.last_rows, batches)
    return [total[first] for first in sorted(total)]


def _mean_gpus(windows: Sequence[list[GpuFigures]]) -> list[GpuFigures] | None:
    seen: dict[str, list[GpuFigures]] = {}
    for one in chain.from_iterable(windows):
        seen.setdefault(one.gpu, []).append(one)
    return [_one_gpu(number, figures) for number, figures in seen.items()] or None


def _one_gpu(number: str, seen: Sequence[GpuFigures]) -> GpuFigures:
    used = [one.memory_used_bytes for one in seen if one.memory_used_bytes is not None]
    busy = [one.utilization_ratio for one in seen if one.utilization_ratio is not None]
    watts = [one.power_watts for one in seen if one.power_watts is not None]
    return GpuFigures(
        number,
        utilization_ratio=fmean(busy) if busy else None,
        memory_used_bytes=max(used, default=None),
        memory_total_bytes=seen[-1].memory_total_bytes,
        power_watts=fmean(watts) if watts else None,
    )
