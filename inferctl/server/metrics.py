"""`/metrics`: the whole service's ledger, and what the system knows, in Prometheus' words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from inferctl import __version__
from inferctl.arena.exemplars import BUCKETS, Exemplar
from inferctl.arena.ledger import Ledger
from inferctl.arena.metric import Metric
from inferctl.arena.metrics import METRICS, metric_of
from inferctl.arena.routes import PREDICT
from inferctl.observation import MetricsSettings
from inferctl.proc import PROC
from inferctl.server.catalogue import Catalogue
from inferctl.server.gpus import write_gpus
from inferctl.server.nv import write_nv
from inferctl.server.processes import Processes
from inferctl.server.sums import OfVersion, Sums, of_service, of_versions
from inferctl.server.text import Text, labels_of

CPU = Metric(
    "inferctl_process_cpu_seconds_total", "counter",
    "User and system CPU of supervisor, engine and workers", per_model=False, label="role",
)  # fmt: skip
MEMORY = Metric(
    "inferctl_process_resident_memory_bytes", "gauge",
    "Resident memory; what processes share counts in each", per_model=False, label="role",
)  # fmt: skip
MODEL_INFO = Metric(
    "inferctl_model_info", "gauge", "1 for each version that is served",
    label="task precision device",
)  # fmt: skip
BUILD_INFO = Metric(
    "inferctl_build_info", "gauge", "1, with the versions of this program and of onnxruntime",
    per_model=False, label="version onnxruntime",
)  # fmt: skip


def _of_gpus(name: str, help_: str) -> Metric:
    return Metric(name, "gauge", help_, per_model=False, label="gpu uuid")


# By what is read of a GPU.
GPUS = {
    "memory_used_bytes": _of_gpus("inferctl_gpu_memory_used_bytes", "Memory in use, by anybody"),
    "memory_total_bytes": _of_gpus("inferctl_gpu_memory_total_bytes", "Memory there is"),
    "utilization": _of_gpus("inferctl_gpu_utilization_ratio", "Share of the time in use, 0 to 1"),
    "power_w": _of_gpus("inferctl_gpu_power_watts", "What it draws"),
    "temperature_c": _of_gpus("inferctl_gpu_temperature_celsius", "How hot it is"),
}
# What no ledger has.
SCRAPED = (CPU, MEMORY, MODEL_INFO, BUILD_INFO, *GPUS.values())

REQUESTS, OF_MODELS = metric_of("inferctl_requests_total"), metric_of("inference_requests_total")
OF_JOBS = metric_of("inferctl_job_items_total")
LATENCY = metric_of("inference_latency_seconds")
# What only texts have.
OF_TEXTS = ("inferctl_tokens_total", "inferctl_padding_tokens_total")
RUNTIMES = ("onnxruntime-gpu", "onnxruntime")


class Exposition:
    """Sums the blocks of all processes, and writes what they say."""

    def __init__(
        self, ledger: Ledger, catalogue: Catalogue, settings: MetricsSettings, proc: Path = PROC
    ) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._settings = settings
        self._processes = Processes(ledger, proc)

    def render(self, *, open_metrics: bool = False) -> bytes:
        """Every series, as text."""
        text = Text(open_metrics=open_metrics)
        versions, service = of_versions(self._ledger), of_service(self._ledger)
        named = [(one, labels_of(model=one.model, version=one.label)) for one in versions]
        texts = self._texts()
        for metric in METRICS:
            text.begin(metric)
            if metric is REQUESTS:
                _write_requests(text, versions, service)
            elif not metric.per_model:
                _write(text, metric, "", service)
            elif metric is LATENCY and open_metrics:
                for one, labels in named:
                    cells = one.sums.of(metric)
                    text.add_histogram(metric, labels, cells, self._exemplars(one.places))
            else:
                for one, labels in named:
                    is_text = metric.name in OF_TEXTS and (one.model, one.label) in texts
                    if one.is_taken or metric.kind != "gauge":
                        _write(text, metric, labels, one.sums, metric.values if is_text else None)
        self._write_scraped(text)
        gpus = self._ledger.board.read(time.monotonic())
        write_gpus(text, GPUS, gpus, lambda gpu: labels_of(gpu=str(gpu.number), uuid=gpu.uuid))
        if self._settings.nv_names:
            write_nv(text, versions, gpus)
        return text.written()

    def _texts(self) -> set[tuple[str, str]]:
        """The versions of models of texts, which have tokens from the start."""
        return {
            (model.name, str(model.version))
            for model in self._catalogue.served()
            if model.manifest.buckets.tokens
        }

    def _exemplars(self, places: Sequence[int]) -> list[Exemplar | None]:
        """The last request of each bucket, of any worker."""
        kept = [
            self._ledger.exemplars(process, place)
            for process in range(Ledger.FIRST_WORKER, len(self._ledger.blocks))
            for place in places
        ]
        kept = [own for own in kept if not own.are_none()]
        found = [[one for own in kept if (one := own.read(bucket))] for bucket in range(BUCKETS)]
        return [max(ones, key=lambda one: one.ended_s, default=None) for ones in found]

    def _write_scraped(self, text: Text) -> None:
        usage = self._processes.usage()
        for metric, column in ((CPU, 0), (MEMORY, 1)):
            text.begin(metric)
            for role, used in usage.items():
                text.add(metric.name, labels_of(role=role), used[column])
        text.begin(MODEL_INFO)
        placed = self._ledger.placed.read()
        for model in self._catalogue.served():
            manifest = model.manifest
            labels = labels_of(
                model=model.name, version=str(model.version), task=manifest.task,
                precision=manifest.precision,
                device=placed[model.place].device if model.place in placed else "",
            )  # fmt: skip
            text.add(MODEL_INFO.name, labels, 1)
        text.begin(BUILD_INFO)
        labels = labels_of(version=__version__, onnxruntime=onnxruntime_version())
        text.add(BUILD_INFO.name, labels, 1)


@cache
def onnxruntime_version() -> str:
    """Of what the engine imports, which this process does not; "" where it is not installed."""
    for name in RUNTIMES:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _write(
    text: Text, metric: Metric, labels: str, sums: Sums, told: Sequence[str] | None = None
) -> None:
    """The series of a metric, which has these labels besides its own; of values besides those that
    are `told` in any case, only what counts."""
    cells = sums.of(metric)
    if metric.buckets:
        text.add_histogram(metric, labels, cells)
        return
    if told is None:
        told = metric.values if metric.told is None else metric.told
    for value, cell in zip(metric.values, cells, strict=True):
        if cell or value in told:
            own = f'{metric.label}="{value}"' if value else ""
            text.add(metric.name, ",".join(filter(None, (labels, own))), cell)


def _write_requests(text: Text, versions: Sequence[OfVersion], service: Sums) -> None:
    """What models count and what no model does; of so many series only those that count."""
    for one in versions:
        counts = zip(one.sums.of(OF_MODELS), one.sums.of(OF_JOBS), strict=True)
        for outcome, (answered, of_jobs) in zip(OF_MODELS.values, counts, strict=True):
            if count := answered - of_jobs:
                labels = labels_of(
                    model=one.model, version=one.label, route=PREDICT, outcome=outcome
                )
                text.add(REQUESTS.name, labels, count)
    for value, count in zip(REQUESTS.values, service.of(REQUESTS), strict=True):
        if count:
            route, outcome = value.split()
            labels = labels_of(model="", version="", route=route, outcome=outcome)
            text.add(REQUESTS.name, labels, count)
