"""Every metric that the ledger holds."""

from __future__ import annotations

from inferctl.arena.metric import (
    BATCH_BUCKETS,
    CLOSE_REASONS,
    DEATH_REASONS,
    DROP_REASONS,
    FAULTS,
    LATENCY_BUCKETS_S,
    LOSS_REASONS,
    OUTCOMES,
    OVERLOAD_REASONS,
    SHED_REASONS,
    STEP_BUCKETS_S,
    WAIT_BUCKETS_S,
    Metric,
)
from inferctl.arena.routes import ROUTES

METRICS: tuple[Metric, ...] = (
    Metric(
        "inferctl_requests_total", "counter",
        "Every HTTP request whose head was complete, once: by model, if it was for one that is "
        "served, route and outcome",
        per_model=False, label="route outcome",
        values=tuple(f"{route} {outcome}" for route in ROUTES for outcome in OUTCOMES),
    ),
    Metric(
        "inference_requests_total", "counter", "Predict requests answered, by outcome",
        label="outcome", values=OUTCOMES, told=FAULTS,
    ),
    Metric(
        "inference_latency_seconds", "histogram",
        "From the request's headers to its answer", buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "inferctl_failed_seconds_total", "counter",
        "Seconds of inference_latency_seconds of requests that failed", told=(),
    ),
    Metric("inference_batch_size", "histogram", "Rows run together", buckets=BATCH_BUCKETS),
    Metric(
        "inferctl_queue_seconds", "histogram",
        "From a row's submission to its run", buckets=WAIT_BUCKETS_S,
    ),
    Metric(
        "inferctl_run_seconds", "histogram",
        "Gather, run and scatter of a batch", buckets=WAIT_BUCKETS_S,
    ),
    Metric(
        "inferctl_decode_seconds", "histogram",
        "From the body to the row's tensors", buckets=STEP_BUCKETS_S,
    ),
    Metric(
        "inferctl_postprocess_seconds", "histogram",
        "From a request's outputs to what its answer says", buckets=STEP_BUCKETS_S,
    ),
    Metric(
        "inferctl_shed_total", "counter", "Predict requests refused with 429, by reason",
        label="reason", values=SHED_REASONS, told=OVERLOAD_REASONS,
    ),
    Metric(
        "inferctl_dropped_total", "counter", "Rows dropped before running, by reason",
        label="reason", values=DROP_REASONS, told=LOSS_REASONS,
    ),
    Metric("inferctl_rows_total", "counter", "Rows run"),
    Metric("inferctl_bisects_total", "counter", "Batches that failed and were run in parts"),
    Metric("inferctl_poisoned_rows_total", "counter", "Rows that failed alone"),
    Metric("inferctl_tokens_total", "counter", "Tokens of the rows run; texts only", told=()),
    Metric(
        "inferctl_padding_tokens_total", "counter",
        "Tokens run besides them to make the rows of a batch alike", told=(),
    ),
    Metric(
        "inferctl_padding_rows_total", "counter",
        "Rows run besides them to make a batch of a size that is warm; not of texts, on a GPU",
        told=(),
    ),
    Metric("inferctl_queue_rows", "gauge", "Rows waiting in the engine"),
    Metric("inferctl_in_flight", "gauge", "Slots in use"),
    Metric("inferctl_slots", "gauge", "Slots that may be in use at a time; more rows get 429"),
    Metric(
        "inferctl_max_batch_rows", "gauge", "Largest batch the engine forms", of_model="largest"
    ),
    Metric("inferctl_instances", "gauge", "Batches run side by side", of_model="largest"),
    Metric(
        "inferctl_batch_cap_rows", "gauge",
        "Rows of a batch that the memory holds; 0 while none was too large", of_model="largest",
    ),
    Metric(
        "inferctl_row_seconds", "gauge", "Seconds per row at which the queue drains",
        of_model="largest",
    ),
    Metric(
        "inferctl_engine_ready", "gauge", "1 when every model is loaded and warm", per_model=False
    ),
    Metric(
        "inferctl_engine_on_cuda", "gauge",
        "1 when models run on CUDA: all whose runtime.device is not cpu", per_model=False,
    ),
    Metric(
        "inferctl_start_time_seconds", "gauge", "When the service was started, since 1970",
        per_model=False,
    ),
    Metric(
        "inferctl_draining", "gauge", "Above 0 once the service ends, or one of its processes",
        per_model=False,
    ),
    Metric(
        "inferctl_restarts_total", "counter", "Processes started again after they died",
        per_model=False, label="role", values=("engine", "worker"),
    ),
    Metric(
        "inferctl_engine_restarts_total", "counter",
        "Engines started again, by how the last one ended",
        per_model=False, label="reason", values=DEATH_REASONS,
    ),
    Metric(
        "inferctl_engine_timeouts_total", "counter",
        "Runs that took longer than runtime.max_run_ms allows, and were told to end",
        per_model=False,
    ),
    Metric(
        "inferctl_reloads_total", "counter",
        "Versions that were to be loaded into the running service, by what became of them",
        per_model=False, label="outcome", values=("ok", "failed"),
    ),
    Metric("inferctl_connections", "gauge", "Connections that are open", per_model=False),
    Metric(
        "inferctl_connections_closed_total", "counter", "Connections that ended, by reason",
        per_model=False, label="reason", values=CLOSE_REASONS,
    ),
    Metric(
        "inferctl_loop_lag_seconds", "histogram",
        "How late the workers' event loops were, ten times a second each",
        per_model=False, buckets=LATENCY_BUCKETS_S,
    ),
    Metric(
        "inferctl_loop_stalls_total", "counter",
        "Times that a worker's event loop was blocked for 2 s; its stack is in the service's log",
        per_model=False,
    ),
    Metric("inferctl_log_dropped_total", "counter", "Request log lines lost", per_model=False),
    Metric("inferctl_spans_dropped_total", "counter", "Spans of traces lost", per_model=False),
)  # fmt: skip

_BY_NAME = {metric.name: metric for metric in METRICS}


def metric_of(name: str) -> Metric:
    """The metric of a name."""
    return _BY_NAME[name]
