"""One look at a service: its exposition and its health as typed numbers.

Series are summed over every label that is not asked for, so that more labels than these, of
versions or processes, change nothing.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from inferctl.client import AsyncClient, Health, UnexpectedAnswer

GPU_PREFIX = "inferctl_gpu_"
# The label that tells series of one owner apart, if one of these does.
APART = ("outcome", "le")

# By the series' name and the label that tells it apart.
Sums = Mapping[tuple[str, str], float]


@dataclass(frozen=True, slots=True)
class Histogram:
    """`buckets` are how many values were at most so large, by that bound, the last one infinite;
    `total` is their sum."""

    buckets: Mapping[float, float] = field(default_factory=dict)
    total: float = 0.0

    @property
    def count(self) -> float:
        """Values so far."""
        return self.buckets.get(inf, 0.0)


@dataclass(frozen=True, slots=True)
class ModelReading:
    """All versions of a model: counters since the service started, and gauges of now."""

    answered: Mapping[str, float] = field(default_factory=dict)
    latency_s: Histogram = Histogram()
    batch_rows: Histogram = Histogram()
    shed: float = 0.0
    dropped: float = 0.0
    queue_rows: float = 0.0
    in_flight: float = 0.0
    slots: float = 0.0


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """All processes of a role."""

    cpu_s: float
    resident_bytes: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Models by name, processes by role, GPUs by their numbers and then by figure; `at_s` is
    monotonic."""

    at_s: float
    health: Health
    models: Mapping[str, ModelReading]
    processes: Mapping[str, ProcessReading]
    gpus: Mapping[str, Mapping[str, float]]


async def read(client: AsyncClient) -> Reading:
    """Look at a service. Raises ClientError."""
    asked_s = time.monotonic()
    text = await client.metrics()
    at_s = (asked_s + time.monotonic()) / 2
    return reading_of(text, await client.health(), at_s)


def reading_of(text: str, health: Health, at_s: float) -> Reading:
    """The reading of an exposition. Raises UnexpectedAnswer when it is none."""
    try:
        families = list(text_string_to_metric_families(text))
    except (ValueError, KeyError, IndexError):
        raise UnexpectedAnswer(
            "/metrics is not answered as an inferctl server does",
            hint="is it an inferctl server?",
            status=200,
        ) from None
    samples = [sample for family in families for sample in family.samples]
    return Reading(
        at_s,
        health,
        {name: _model(sums) for name, sums in _by("model", samples).items()},
        {role: _process(sums) for role, sums in _by("role", samples).items()},
        _gpus(samples),
    )


def _by(label: str, samples: Iterable[Sample]) -> dict[str, Sums]:
    """The sums of everything that has a label, by its value."""
    found: dict[str, dict[tuple[str, str], float]] = defaultdict(lambda: defaultdict(float))
    for sample in samples:
        if owner := sample.labels.get(label):
            apart = next((sample.labels[name] for name in APART if name in sample.labels), "")
            found[owner][sample.name, apart] += sample.value
    return dict(sorted(found.items()))


def _model(sums: Sums) -> ModelReading:
    return ModelReading(
        answered=_apart(sums, "inference_requests_total"),
        latency_s=_histogram(sums, "inference_latency_seconds"),
        batch_rows=_histogram(sums, "inference_batch_size"),
        shed=sums.get(("inferctl_shed_total", ""), 0.0),
        dropped=sums.get(("inferctl_dropped_total", ""), 0.0),
        queue_rows=sums.get(("inferctl_queue_rows", ""), 0.0),
        in_flight=sums.get(("inferctl_in_flight", ""), 0.0),
        slots=sums.get(("inferctl_slots", ""), 0.0),
    )


def _histogram(sums: Sums, name: str) -> Histogram:
    bounds = {float(bound): count for bound, count in _apart(sums, f"{name}_bucket").items()}
    return Histogram(dict(sorted(bounds.items())), sums.get((f"{name}_sum", ""), 0.0))


def _apart(sums: Sums, name: str) -> dict[str, float]:
    return {apart: value for (series, apart), value in sums.items() if series == name}


def _process(sums: Sums) -> ProcessReading:
    return ProcessReading(
        sums.get(("inferctl_process_cpu_seconds_total", ""), 0.0),
        sums.get(("inferctl_process_resident_memory_bytes", ""), 0.0),
    )


def _gpus(samples: Iterable[Sample]) -> dict[str, dict[str, float]]:
    """Whatever is told of each GPU, by its number."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in samples:
        if sample.name.startswith(GPU_PREFIX):
            figure = sample.name.removeprefix(GPU_PREFIX)
            found[sample.labels.get("gpu", "")][figure] = sample.value
    return dict(found)
