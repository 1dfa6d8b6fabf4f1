"""`/metrics`: the whole service's ledger, in Prometheus' words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inferctl.arena.ledger import Ledger
from inferctl.arena.metric import Metric
from inferctl.arena.metrics import METRICS, metric_of
from inferctl.arena.routes import PREDICT
from inferctl.server.processes import PROC, Processes
from inferctl.server.sums import OfVersion, Sums, of_service, of_versions
from inferctl.server.text import Text, labels_of

CPU = Metric(
    "inferctl_process_cpu_seconds_total", "counter", "User and system CPU",
    per_model=False, label="role",
)  # fmt: skip
MEMORY = Metric(
    "inferctl_process_resident_memory_bytes", "gauge", "Resident memory",
    per_model=False, label="role",
)  # fmt: skip
# What no ledger has.
SCRAPED = (CPU, MEMORY)

REQUESTS, OF_MODELS = metric_of("inferctl_requests_total"), metric_of("inference_requests_total")


class Exposition:
    """Sums the blocks of all processes, and writes what they say."""

    def __init__(self, ledger: Ledger, proc: Path = PROC) -> None:
        self._ledger = ledger
        self._processes = Processes(ledger, proc)

    def render(self) -> bytes:
        """Every series, as text."""
        text = Text()
        versions, service = of_versions(self._ledger), of_service(self._ledger)
        for metric in METRICS:
            text.begin(metric)
            if metric is REQUESTS:
                _write_requests(text, versions, service)
            elif metric.per_model:
                for one in versions:
                    if metric.kind != "gauge" or one.is_taken:
                        labels = labels_of(model=one.model, version=one.label)
                        _write(text, metric, labels, one.sums)
            else:
                _write(text, metric, "", service)
        self._write_processes(text)
        return text.written()

    def _write_processes(self, text: Text) -> None:
        usage = self._processes.usage()
        for metric, column in ((CPU, 0), (MEMORY, 1)):
            text.begin(metric)
            for role, used in usage.items():
                text.add(metric.name, labels_of(role=role), used[column])


def _write(text: Text, metric: Metric, labels: str, sums: Sums) -> None:
    """The series of a metric, which has these labels besides its own."""
    cells = sums.of(metric)
    if metric.buckets:
        text.add_histogram(metric, labels, cells)
        return
    for value, cell in zip(metric.values, cells, strict=True):
        own = labels_of(**{metric.label: value}) if value else ""
        text.add(metric.name, ",".join(filter(None, (labels, own))), cell)


def _write_requests(text: Text, versions: Sequence[OfVersion], service: Sums) -> None:
    """What models count and what no model does; of so many series only those that count."""
    for one in versions:
        for outcome, count in zip(OF_MODELS.values, one.sums.of(OF_MODELS), strict=True):
            if count:
                labels = labels_of(
                    model=one.model, version=one.label, route=PREDICT, outcome=outcome
                )
                text.add(REQUESTS.name, labels, count)
    for value, count in zip(REQUESTS.values, service.of(REQUESTS), strict=True):
        if count:
            route, outcome = value.split()
            labels = labels_of(model="", version="", route=route, outcome=outcome)
            text.add(REQUESTS.name, labels, count)
