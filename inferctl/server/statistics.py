"""What a model has done, in the words of the statistics extension, from the ledger's sums."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pydantic import BaseModel, Field

from inferctl.arena.ledger import Ledger
from inferctl.arena.metric import BATCH_BUCKETS, OUTCOMES
from inferctl.server.call import OK
from inferctl.server.served import ServedModel
from inferctl.server.sums import Sums, of_version

# A bucket of the batch sizes holds one size alone while no size lies between it and the last.
EXACT_SIZES = tuple(
    size
    for before, size in zip((0, *BATCH_BUCKETS), BATCH_BUCKETS, strict=False)
    if size == before + 1
)


class Duration(BaseModel):
    """How often, and how many nanoseconds together."""

    count: int
    ns: int


class InferenceStatistics(BaseModel):
    """`compute_infer` counts batches, from gather to scatter; the rest counts requests."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class BatchStatistics(BaseModel):
    """All batches of one size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStatistics(BaseModel):
    """`last_inference` is in milliseconds since 1970, 0 before the first."""

    name: str
    version: str
    last_inference: int
    inference_count: int = Field(description="rows")
    execution_count: int = Field(description="batches")
    inference_stats: InferenceStatistics
    batch_stats: list[BatchStatistics] = Field(
        description="filled while every batch had the same known size; only the sum is kept"
    )


class Statistics(BaseModel):
    """`GET /v2/models/stats`."""

    model_stats: list[ModelStatistics]


NOTHING = Duration(count=0, ns=0)


def statistics_of(ledger: Ledger, model: ServedModel) -> ModelStatistics:
    """What all workers and the engine have counted for a version, also when it was there before."""
    sums = of_version(ledger, model.name, model.version)
    sizes = sums.histogram("inference_batch_size")
    run = _duration(sums, "inferctl_run_seconds")
    return ModelStatistics(
        name=model.name,
        version=str(model.version),
        last_inference=_last_inference_ms(model),
        inference_count=int(sums.total("inferctl_rows_total")),
        execution_count=int(sum(sizes[:-1])),
        inference_stats=InferenceStatistics(
            **_requests(sums),
            queue=_duration(sums, "inferctl_queue_seconds"),
            compute_input=_duration(sums, "inferctl_decode_seconds"),
            compute_infer=run,
            compute_output=_duration(sums, "inferctl_postprocess_seconds"),
            cache_hit=NOTHING,
            cache_miss=NOTHING,
        ),
        batch_stats=_batches(sizes[:-1], run),
    )


def _requests(sums: Sums) -> dict[str, Duration]:
    counts = {value: sums.total("inference_requests_total", value) for value in OUTCOMES}
    all_s = sums.histogram("inference_latency_seconds")[-1]
    failed_s = sums.total("inferctl_failed_seconds_total")
    good = int(counts.pop(OK))
    return {
        "success": Duration(count=good, ns=_ns(max(0.0, all_s - failed_s)) if good else 0),
        "fail": Duration(count=int(sum(counts.values())), ns=_ns(failed_s)),
    }


def _duration(sums: Sums, histogram: str) -> Duration:
    *counts, seconds = sums.histogram(histogram)
    return Duration(count=int(sum(counts)), ns=_ns(seconds))


def _batches(counts: Sequence[float], run: Duration) -> list[BatchStatistics]:
    """The run's sum belongs to one size when there was no other."""
    used = [bucket for bucket, count in enumerate(counts) if count]
    if len(used) != 1 or used[0] >= len(BATCH_BUCKETS):
        return []
    size = BATCH_BUCKETS[used[0]]
    if size not in EXACT_SIZES:
        return []
    return [
        BatchStatistics(
            batch_size=size, compute_input=NOTHING, compute_infer=run, compute_output=NOTHING
        )
    ]


def _last_inference_ms(model: ServedModel) -> int:
    """When a slot's outputs were last written, of any worker; slots outlive what they held."""
    finished_s = float(model.arena.finished_s.max())
    if not finished_s:
        return 0
    return int((time.time() - (time.monotonic() - finished_s)) * 1000)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
