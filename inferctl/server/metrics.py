"""`/metrics`: the whole service's ledger, in Prometheus' words."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from inferctl.arena.ledger import CPU_BASE_S, METRICS, PID, Ledger, metric_of
from inferctl.arena.metric import Metric as LedgerMetric
from inferctl.arena.routes import PREDICT

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

REQUESTS, OF_MODELS = metric_of("inferctl_requests_total"), metric_of("inference_requests_total")

FAMILIES: dict[
    str, type[CounterMetricFamily] | type[GaugeMetricFamily] | type[HistogramMetricFamily]
] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


class LedgerCollector(Collector):
    """Sums the blocks of all processes, and reads what the system knows of each."""

    def __init__(self, ledger: Ledger, proc: Path = Path("/proc")) -> None:
        self._ledger = ledger
        self._proc = proc
        # A process may die between its last reading and the supervisor's account of it.
        self._cpu_seen_s: dict[str, float] = {}

    def collect(self) -> Iterator[Metric]:
        """One family per metric of the ledger, then the processes'."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, model in self._ledger.places().items():
            places[model].append(place)
        for metric in METRICS:
            if metric is REQUESTS:
                yield self._requests(places)
            else:
                yield self._family(metric, places if metric.per_model else {"": [0]})
        yield from self._processes()

    def _family(self, metric: LedgerMetric, places: dict[str, list[int]]) -> Metric:
        labels = ["model"] * metric.per_model + [metric.label] * bool(metric.label)
        family = FAMILIES[metric.kind](metric.name, metric.help, labels=labels)
        for model, own in places.items():
            for value in metric.values:
                cells = self._cells(metric, own, value)
                values = [model] * metric.per_model + [value] * bool(metric.label)
                if isinstance(family, HistogramMetricFamily):
                    bounds = [*(f"{bound:g}" for bound in metric.buckets), "+Inf"]
                    counts = accumulate(cells[:-1])
                    family.add_metric(values, list(zip(bounds, counts, strict=True)), cells[-1])
                else:
                    family.add_metric(values, cells[0])
        return family

    def _requests(self, places: dict[str, list[int]]) -> Metric:
        """What models count and what no model does; of so many series only those that count."""
        family = CounterMetricFamily(
            REQUESTS.name, REQUESTS.help, labels=["model", *REQUESTS.label.split()]
        )
        for model, own in places.items():
            for outcome in OF_MODELS.values:
                (count,) = self._cells(OF_MODELS, own, outcome)
                if count:
                    family.add_metric([model, PREDICT, outcome], count)
        blocks = (block.read_all(REQUESTS) for block in self._ledger.blocks)
        for value, counts in zip(REQUESTS.values, zip(*blocks, strict=True), strict=True):
            if count := sum(counts):
                family.add_metric(["", *value.split()], count)
        return family

    def _cells(self, metric: LedgerMetric, places: list[int], value: str) -> list[float]:
        """A model's series: over all processes, and over all its places."""
        blocks = self._ledger.blocks
        of_places = [
            [sum(cells) for cells in zip(*(b.read(metric, p, value) for b in blocks), strict=True)]
            for p in places
        ]
        of_model = max if metric.of_model == "largest" else sum
        return [of_model(cells) for cells in zip(*of_places, strict=True)]

    def _processes(self) -> Iterable[Metric]:
        cpu_s: dict[str, float] = defaultdict(float)
        resident: dict[str, float] = defaultdict(float)
        for number, block in enumerate(self._ledger.blocks):
            role = self._ledger.role(number)
            cpu_s[role] += block.state(CPU_BASE_S).get()
            if stat := self._stat(int(block.state(PID).get())):
                cpu_s[role] += stat[0]
                resident[role] += stat[1]
        cpu = CounterMetricFamily(
            "inferctl_process_cpu_seconds_total", "User and system CPU", labels=["role"]
        )
        memory = GaugeMetricFamily(
            "inferctl_process_resident_memory_bytes", "Resident memory", labels=["role"]
        )
        for role, seconds in cpu_s.items():
            self._cpu_seen_s[role] = max(seconds, self._cpu_seen_s.get(role, 0.0))
            cpu.add_metric([role], self._cpu_seen_s[role])
            memory.add_metric([role], resident[role])
        return (cpu, memory)

    def _stat(self, pid: int) -> tuple[float, float] | None:
        """CPU seconds and resident bytes of a live process; None where /proc does not tell."""
        try:
            text = (self._proc / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        # The command name is in parentheses and may hold spaces: fields count from behind it.
        fields = text.rpartition(")")[2].split()
        return (
            (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND,
            float(int(fields[21]) * PAGE_BYTES),
        )


class Exposition:
    """Renders the ledger as Prometheus text."""

    def __init__(self, ledger: Ledger) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(LedgerCollector(ledger))

    def render(self) -> bytes:
        """The text exposition of every series."""
        return generate_latest(self._registry)
