"""The same numbers by the names that Triton gives them, for dashboards that have those."""

from __future__ import annotations

from collections.abc import Sequence

from inferctl.arena.board import Gpu
from inferctl.arena.metric import OUTCOMES, Metric
from inferctl.server.call import OK
from inferctl.server.gpus import write_gpus
from inferctl.server.sums import OfVersion, Sums
from inferctl.server.text import Text, labels_of

# Why a request failed, in Triton's words; what is in none of them is OTHER.
OTHER = "OTHER"
REASONS = {
    "REJECTED": ("overloaded", "unavailable", "deadline_exceeded"),
    "CANCELED": ("client_gone",),
    "BACKEND": ("row_failed", "non_finite_output", "out_of_memory", "engine_crash"),
}
REASON_OF = {outcome: reason for reason, outcomes in REASONS.items() for outcome in outcomes}

SUCCESS = Metric("nv_inference_request_success", "counter", "Requests answered well")
FAILURE = Metric(
    "nv_inference_request_failure", "counter", "Requests answered otherwise, by reason",
    label="reason", values=(*REASONS, OTHER),
)  # fmt: skip
COUNT = Metric("nv_inference_count", "counter", "Rows run")
EXEC_COUNT = Metric("nv_inference_exec_count", "counter", "Batches run")
PENDING = Metric("nv_inference_pending_request_count", "gauge", "Rows waiting in the engine")
REQUEST_US = Metric(
    "nv_inference_request_duration_us", "counter", "Microseconds of requests answered well"
)
# Those of which the ledger has the sum in seconds.
DURATIONS = {
    Metric(
        "nv_inference_queue_duration_us", "counter", "Microseconds that requests waited to be run"
    ): "inferctl_queue_seconds",
    Metric(
        "nv_inference_compute_input_duration_us", "counter", "Microseconds of decoding inputs"
    ): "inferctl_decode_seconds",
    Metric(
        "nv_inference_compute_infer_duration_us", "counter",
        "Microseconds of running batches, each once, however many requests it has",
    ): "inferctl_run_seconds",
    Metric(
        "nv_inference_compute_output_duration_us", "counter",
        "Microseconds of making answers of outputs",
    ): "inferctl_postprocess_seconds",
}  # fmt: skip
# Of GPUs, by what is written of them.
GPUS = {
    "utilization": Metric("nv_gpu_utilization", "gauge", "Share of the time in use, 0 to 1"),
    "memory_total_bytes": Metric("nv_gpu_memory_total_bytes", "gauge", "Memory"),
    "memory_used_bytes": Metric("nv_gpu_memory_used_bytes", "gauge", "Memory in use"),
    "power_w": Metric("nv_gpu_power_usage", "gauge", "Watts"),
    "power_limit_w": Metric("nv_gpu_power_limit", "gauge", "Watts allowed"),
    "energy_j": Metric("nv_energy_consumption", "counter", "Joules since the driver was loaded"),
}
OF_VERSIONS = (SUCCESS, FAILURE, COUNT, EXEC_COUNT, PENDING, REQUEST_US, *DURATIONS)


def write_nv(text: Text, versions: Sequence[OfVersion], gpus: Sequence[Gpu]) -> None:
    """Every series."""
    for metric in OF_VERSIONS:
        text.begin(metric)
        for one in versions:
            if one.is_taken or metric.kind == "counter":
                _write(text, metric, one)
    write_gpus(text, GPUS, gpus, lambda gpu: labels_of(gpu_uuid=gpu.uuid))


def _write(text: Text, metric: Metric, one: OfVersion) -> None:
    labels = labels_of(model=one.model, version=one.label)
    if metric is not FAILURE:
        text.add(metric.name, labels, _value(metric, one.sums))
        return
    counts = dict.fromkeys(FAILURE.values, 0.0)
    for outcome in OUTCOMES:
        if outcome != OK:
            reason = REASON_OF.get(outcome, OTHER)
            counts[reason] += one.sums.total("inference_requests_total", outcome)
    for reason, count in counts.items():
        text.add(metric.name, f"{labels},{labels_of(reason=reason)}", count)


def _value(metric: Metric, sums: Sums) -> float:
    if metric is SUCCESS:
        return sums.total("inference_requests_total", OK)
    if metric is COUNT:
        return sums.total("inferctl_rows_total")
    if metric is EXEC_COUNT:
        return sum(sums.histogram("inference_batch_size")[:-1])
    if metric is PENDING:
        return sums.total("inferctl_queue_rows")
    if metric is REQUEST_US:
        all_s = sums.histogram("inference_latency_seconds")[-1]
        return _us(max(0.0, all_s - sums.total("inferctl_failed_seconds_total")))
    return _us(sums.histogram(DURATIONS[metric])[-1])


def _us(seconds: float) -> float:
    return float(round(seconds * 1e6))
