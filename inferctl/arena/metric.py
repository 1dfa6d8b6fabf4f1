"""What a metric is, the values that labels may have, and the bounds of histograms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Up to the longest deadline that a request may have by default.
LATENCY_BUCKETS_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
# Of the parts of a request. There are many of these, so they are as fine as what is done about them
# depends on: a queue and a run are tuned, what decodes and answers is found when it is slow.
WAIT_BUCKETS_S = (0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 60.0)
STEP_BUCKETS_S = (0.0001, 0.001, 0.01, 0.1, 1.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

OUTCOMES = (
    "ok", "malformed", "unauthorized", "forbidden", "not_found", "method_not_allowed",
    "request_timeout", "conflict", "gone", "too_large", "uri_too_long", "unsupported_media",
    "misdirected", "unprocessable", "empty_text", "overloaded", "headers_too_large", "client_gone",
    "row_failed", "non_finite_output", "out_of_memory", "engine_crash", "internal_error",
    "unsupported", "unavailable", "deadline_exceeded",
)  # fmt: skip
# Those that somebody is woken for: their first one is to be seen as an increase. The others are the
# clients' own mistakes, and most models never have most of them.
FAULTS = (
    "ok", "row_failed", "non_finite_output", "out_of_memory", "engine_crash", "internal_error",
    "unavailable", "deadline_exceeded",
)  # fmt: skip
# Why connections end: the client left, it had its last answer, it was idle for too long, the
# service ends; or it was too slow, sent too much or what is no HTTP, had to make room, found no
# room, did not take its answer.
CLOSE_REASONS = (
    "client", "answered", "idle", "drain", "first_byte", "header_timeout", "body_timeout",
    "header_too_large", "too_large", "protocol", "evicted", "conn_cap", "write_stall",
)  # fmt: skip
# Of requests that were refused with 429.
SHED_REASONS = ("queue", "deadline", "memory", "fair_share", "quota", "jobs")
# Those that say something of the service, and not of an API key.
OVERLOAD_REASONS = ("queue", "deadline", "memory", "jobs")
DROP_REASONS = ("expired", "cancelled", "worker_lost")
# Those that no client decides.
LOSS_REASONS = ("expired", "worker_lost")
# Why an engine died: a signal of its own, somebody's SIGKILL, the supervisor's, its own exit.
DEATH_REASONS = ("crash", "killed", "timeout", "exit")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its cells are (places) x (label values) x (1, or buckets + overflow + sum).

    `of_model` is the model's figure from those of its places. `label` may be several names, each
    value is as many words then. Of `told`, or of all values if it is None, there are series before
    anything was counted.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    per_model: bool = True
    label: str = ""
    values: tuple[str, ...] = ("",)
    buckets: tuple[float, ...] = ()
    of_model: Literal["sum", "largest"] = "sum"
    told: tuple[str, ...] | None = None

    @property
    def width(self) -> int:
        """Cells of one series."""
        return len(self.buckets) + 2 if self.buckets else 1
