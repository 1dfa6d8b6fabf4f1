"""What the dashboard shows, row by row."""

from __future__ import annotations

from deploy.grafana.expressions import (
    MODEL,
    SERVICE,
    answered,
    errors,
    gauge,
    increase,
    largest,
    mean,
    padding,
    quantile,
    quantiles,
    rate,
    time_to_drain,
)
from deploy.grafana.gpu_panels import GPU
from deploy.grafana.panel import Panel, Row

OVERVIEW = Row(
    "Overview",
    (
        Panel(
            "Requests by outcome",
            "Predict requests answered; overloaded is 429, client_gone left before the answer.",
            "reqps",
            {"{{outcome}}": rate("inference_requests_total", "outcome")},
            stacked=True,
        ),
        Panel(
            "Errors that are ours",
            "Answers of 5xx, as a share of what was not the client's fault or refused with 429.",
            "percentunit",
            {"{{model}}": errors()},
        ),
        Panel(
            "Latency",
            "From a request's headers to its answer, refusals included.",
            "s",
            quantiles("inference_latency_seconds", 0.5, 0.95, 0.99),
        ),
        Panel(
            "Goodput",
            "Requests answered with a result, and all that came: what lies between is lost.",
            "reqps",
            {
                "answered {{model}}": answered("ok"),
                "came {{model}}": rate("inference_requests_total", "model"),
            },
        ),
    ),
)

VERSIONS = Row(
    "Versions",
    (
        Panel(
            "Requests by version",
            "Of those in memory; where several are, a canary can be compared.",
            "reqps",
            {"{{model}} {{version}}": rate("inference_requests_total", "model, version")},
            stacked=True,
        ),
        Panel(
            "Errors by version",
            "Ours, as above.",
            "percentunit",
            {"{{model}} {{version}}": errors("model, version")},
        ),
        Panel(
            "p99 by version",
            "From a request's headers to its answer.",
            "s",
            {
                "{{model}} {{version}}": quantile(
                    0.99, "inference_latency_seconds", "model, version"
                )
            },
        ),
        Panel(
            "Reloads",
            "Versions that were to be loaded, and what became of them.",
            "short",
            {"{{outcome}}": increase("inferctl_reloads_total", "outcome")},
        ),
    ),
)

STAGES = {
    "decode": "inferctl_decode_seconds",
    "queue": "inferctl_queue_seconds",
    "run": "inferctl_run_seconds",
    "postprocess": "inferctl_postprocess_seconds",
}
SPLIT = Row(
    "Where the time goes",
    (
        Panel(
            "Mean of each stage",
            "Body to tensors, waiting for the device, run of a whole batch, outputs to answer.",
            "s",
            {f"{stage} {{{{model}}}}": mean(metric) for stage, metric in STAGES.items()},
            stacked=True,
        ),
        Panel("Decode", "From body to tensors.", "s", quantiles(STAGES["decode"], 0.5, 0.99)),
        Panel("Queue", "Waiting for the device.", "s", quantiles(STAGES["queue"], 0.5, 0.99)),
        Panel("Run", "Of a whole batch.", "s", quantiles(STAGES["run"], 0.5, 0.99)),
    ),
)

BATCHING = Row(
    "Batching",
    (
        Panel(
            "Rows of a batch",
            "The mean, and the largest batch that the engine forms.",
            "short",
            {
                "{{model}}": mean("inference_batch_size"),
                "largest {{model}}": largest(f"inferctl_max_batch_rows{{{MODEL}}}"),
            },
        ),
        Panel(
            "Sizes of batches",
            "How many batches of each size.",
            "short",
            {"{{le}}": increase("inference_batch_size_bucket", "le", MODEL)},
            kind="heatmap",
        ),
        Panel(
            "Rows",
            "Rows run, a second; a request may have several.",
            "short",
            {"{{model}}": rate("inferctl_rows_total", "model")},
        ),
        Panel(
            "Padding",
            "Share of the tokens run that make the texts of a batch alike; texts only.",
            "percentunit",
            {"{{model}}": padding()},
        ),
    ),
)

OVERLOAD = Row(
    "Overload",
    (
        Panel(
            "Refused by reason",
            "429: queue or memory are full, it would be too late, or a key has had its share.",
            "reqps",
            {"{{reason}}": rate("inferctl_shed_total", "reason")},
            stacked=True,
        ),
        Panel(
            "Dropped by reason",
            "Rows that were let in and not run: too late, their client or their worker gone.",
            "short",
            {"{{reason}}": rate("inferctl_dropped_total", "reason")},
            stacked=True,
        ),
        Panel(
            "Rows in the service",
            "Those that wait in the engine, and those that have a slot.",
            "short",
            {
                "waiting {{model}}": gauge("inferctl_queue_rows"),
                "in flight {{model}}": gauge("inferctl_in_flight"),
            },
        ),
        Panel(
            "Time to drain the queue",
            "Of the worst instance, at the speed that it has.",
            "s",
            {"{{model}}": time_to_drain()},
        ),
    ),
)

PROCESSES = Row(
    "Processes",
    (
        Panel(
            "CPU by role",
            "Cores in use.",
            "short",
            {"{{role}}": rate("inferctl_process_cpu_seconds_total", "role", SERVICE)},
            stacked=True,
        ),
        Panel(
            "Memory by role",
            "Resident; what processes share counts in each.",
            "bytes",
            {"{{role}}": gauge("inferctl_process_resident_memory_bytes", "role", SERVICE)},
        ),
        Panel(
            "Restarts",
            "Processes that died and were replaced; engines also by how they ended.",
            "short",
            {
                "{{role}}": increase("inferctl_restarts_total", "role"),
                "engine: {{reason}}": increase("inferctl_engine_restarts_total", "reason"),
            },
        ),
        Panel(
            "Event loops",
            "How late the workers' loops are (p99); 2 s and more is a stall.",
            "s",
            {"{{instance}}": quantile(0.99, "inferctl_loop_lag_seconds", "instance", SERVICE)},
        ),
        Panel(
            "Connections",
            "Open ones, of all workers.",
            "short",
            {"{{instance}}": gauge("inferctl_connections", "instance", SERVICE)},
        ),
        Panel(
            "Connections closed by reason",
            "client left, answered was the last one, idle; the others were cut off.",
            "short",
            {"{{reason}}": rate("inferctl_connections_closed_total", "reason", SERVICE)},
            stacked=True,
        ),
        Panel(
            "Failures inside",
            "Rows that failed alone, batches run in parts, runs told to end, stalls, lines lost.",
            "short",
            {
                "poisoned {{model}}": increase("inferctl_poisoned_rows_total", "model", MODEL),
                "bisected {{model}}": increase("inferctl_bisects_total", "model", MODEL),
                "run timeouts": increase("inferctl_engine_timeouts_total", "job"),
                "loop stalls": increase("inferctl_loop_stalls_total", "job"),
                "log lines lost": increase("inferctl_log_dropped_total", "job"),
            },
        ),
        Panel(
            "Ready",
            "Engines that are ready, and services that end.",
            "short",
            {
                "ready {{instance}}": gauge("inferctl_engine_ready", "instance", SERVICE),
                "draining {{instance}}": gauge("inferctl_draining", "instance", SERVICE),
            },
        ),
    ),
)

ROWS = (OVERVIEW, VERSIONS, SPLIT, BATCHING, OVERLOAD, PROCESSES, GPU)
