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
        "inference_requests_total", "counter",
        "Predict requests answered, and items of jobs, by outcome",
        label="outcome", values=OUTCOMES, told=FAULTS,
    ),
    Metric(
        "inferctl_job_items_total", "counter",
        "Those of inference_requests_total that were items of jobs, and no HTTP requests",
        label="outcome", values=OUTCOMES, told=(),
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
    Metric(
        "inferctl_preempted_rows_total", "counter",
        "Bulk rows whose run was ended since interactive rows came; they wait and are run again",
    ),
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
    Metric("inferctl_bulk_in_flight", "gauge", "Those of them whose rows are bulk"),
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
    Metric("inferctl_model_on_cuda", "gauge", "1 when it runs on a GPU", of_model="largest"),
    Metric(
        "inferctl_model_fell_back", "gauge",
        "1 when it runs on the CPU, and its runtime.device is auto: something is missing for a GPU",
        of_model="largest",
    ),
    Metric(
        "inferctl_model_cpu_nodes", "gauge",
        "Nodes of its graph that run on the CPU though it is on a GPU; not those that compute "
        "shapes", of_model="largest",
    ),
    Metric(
        "inferctl_model_device_bytes", "gauge",
        "Memory of the GPU that it took to load and to warm up; 0 on the CPU, and if not known",
    ),
    Metric(
        "inferctl_engine_ready", "gauge", "1 when every model is loaded and warm", per_model=False
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
    Metric(
        "inferctl_jobs_open", "gauge", "Jobs in the store that wait, or are being done",
        per_model=False, label="state", values=("queued", "running"),
    ),
    Metric(
        "inferctl_jobs_total", "counter", "Jobs taken in, and those that ended, by how",
        per_model=False, label="state",
        values=("accepted", "done", "failed", "cancelled", "expired"),
    ),
    Metric(
        "inferctl_job_redeliveries_total", "counter",
        "Jobs that were queued again because who did them was gone", per_model=False,
    ),
    Metric(
        "inferctl_job_stale_results_total", "counter",
        "Results that came to nothing, for another claim of their job came after", per_model=False,
    ),
    Metric(
        "inferctl_job_duplicates_total", "counter",
        "Submissions that were there before, by their idempotency key", per_model=False,
    ),
    Metric(
        "inferctl_job_messages_refused_total", "counter",
        "Messages of Celery's queue that were no ids of jobs", per_model=False,
    ),
    Metric(
        "inferctl_job_store_errors_total", "counter",
        "Times that the job store could not be used", per_model=False,
    ),
    Metric(
        "inferctl_job_store_recreated", "gauge",
        "1 when the job store was damaged at the start, and put aside", per_model=False,
    ),
    Metric("inferctl_log_dropped_total", "counter", "Request log lines lost", per_model=False),
    Metric("inferctl_spans_dropped_total", "counter", "Spans of traces lost", per_model=False),
)  # fmt: skip

_BY_NAME = {metric.name: metric for metric in METRICS}


def metric_of(name: str) -> Metric:
    """The metric of a name."""
    return _BY_NAME[name]
