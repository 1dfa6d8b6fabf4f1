"""Figures as people read them, alike on the terminal, in Markdown and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inferctl.bench.figures import BatchBucket, ServerFigures
from inferctl.bench.report.histogram import Histogram
from inferctl.bench.report.record import Goodput, LoadRecord
from inferctl.bench.report.split import phases_of

NONE = "-"
GOODPUT = "goodput"
# Percentiles that are kept as they were measured; others are read from the histogram.
EXACT: dict[float, str] = {50: "p50_ms", 90: "p90_ms", 95: "p95_ms", 99: "p99_ms", 100: "max_ms"}
SHOWN: dict[float, str] = {50: "p50", 90: "p90", 95: "p95", 99: "p99", 99.9: "p99.9", 100: "max"}
MIB, GIB = 2**20, 2**30


@dataclass(frozen=True, slots=True)
class Row:
    """A figure, and its value for each load. `is_new_part` begins a part of the table."""

    name: str
    values: list[str]
    is_new_part: bool = False


def ms(value_ms: float | None) -> str:
    """Milliseconds; below one with a digit more."""
    if value_ms is None:
        return NONE
    return f"{value_ms:,.3f} ms" if 0 < value_ms < 1 else f"{value_ms:,.2f} ms"


def per_s(value: float) -> str:
    """A rate of requests."""
    return f"{value:,.1f} requests/s"


def share(value: float) -> str:
    """A share, 0 to 1, in percent; a small one is not shown as none."""
    if 0 < value < 0.001:
        return f"{value:.4%}"
    return f"{value:.2%}" if value < 0.1 else f"{value:.1%}"


def memory(size_bytes: float) -> str:
    """Bytes in the unit that suits them."""
    if size_bytes >= GIB:
        return f"{size_bytes / GIB:,.1f} GiB"
    return f"{size_bytes / MIB:,.0f} MiB"


def error_rate(load: LoadRecord) -> float:
    """The share of the requests that had no good answer, 0 to 1; all of a load that failed."""
    if load.failure:
        return 1.0
    total = load.client.answered + load.client.failed
    return load.client.failed / total if total else 0.0


def percentile_ms(load: LoadRecord, percent: float) -> float | None:
    """A percentile of a load's latencies, above 0 up to 100; None without any answer."""
    latency = load.client.latency
    if latency is None:
        return None
    if percent in EXACT:
        return float(getattr(latency, EXACT[percent]))
    # The middle of the histogram's last slot may lie above the longest latency.
    return min(latencies(load).percentile_ms(percent), latency.max_ms)


def mean_ms(load: LoadRecord) -> float | None:
    """The mean of a load's latencies; None without any answer."""
    latency = load.client.latency
    return None if latency is None else latency.mean_ms


def latencies(load: LoadRecord) -> Histogram:
    """All latencies of the windows that count."""
    return Histogram.together(Histogram.decode(one.latencies) for one in load.counted)


def rows_of(loads: list[LoadRecord]) -> Iterator[Row]:
    """Every figure, the client's first; a column for each load."""
    yield from _client_rows(loads)
    phases = [{one.name: one for one in phases_of(load)} for load in loads]
    for number, name in enumerate(next((list(one) for one in phases if one), [])):
        parts = [one.get(name) for one in phases]
        shown = [NONE if one is None else f"{ms(one.ms)}  {one.share:.0%}" for one in parts]
        yield Row(f"mean: {name}", shown, is_new_part=number == 0)
    yield from _server_rows(loads)


def _client_rows(loads: list[LoadRecord]) -> Iterator[Row]:
    clients = [load.client for load in loads]
    yield Row("answered", [f"{client.answered:,} requests" for client in clients])
    yield Row("errors", [_errors(load) for load in loads])
    yield Row("throughput", [per_s(client.throughput_per_s) for client in clients])
    for percent, name in SHOWN.items():
        yield Row(f"latency {name}", [ms(percentile_ms(load, percent)) for load in loads])
    yield Row("latency mean", [ms(mean_ms(load)) for load in loads])
    slos = dict.fromkeys(load.goodput.slo for load in loads if load.goodput)
    for slo in slos:
        yield Row(f"{GOODPUT}, {slo}", [_within(load.goodput, slo) for load in loads])


def _within(goodput: Goodput | None, slo: str) -> str:
    if goodput is None or goodput.slo != slo:
        return NONE
    return f"{per_s(goodput.within_per_s)}, {'kept' if goodput.is_kept else 'missed'}"


def _errors(load: LoadRecord) -> str:
    if load.failure:
        return f"{share(1.0)}: nothing was measured"
    if not load.client.failed:
        return "none"
    kinds = ", ".join(
        f"{status.replace('_', ' ')} x {count:,}" for status, count in load.client.errors.items()
    )
    return f"{share(error_rate(load))}: {kinds}"


def _server_rows(loads: list[LoadRecord]) -> Iterator[Row]:
    servers = [load.server for load in loads]
    means = [one.mean_batch_rows for one in servers]
    yield Row("mean batch", [NONE if one is None else f"{one:.2f} rows" for one in means], True)
    yield Row("server CPU per request", [ms(one.cpu_ms_per_request) for one in servers])
    yield Row("server memory", [_resident(one) for one in servers])
    for gpu in dict.fromkeys(one.gpu for server in servers for one in server.gpus or []):
        yield Row(f"GPU {gpu}", [_gpu(server, gpu) for server in servers])
    cores = [load.generator_cpu_cores for load in loads]
    yield Row("generator CPU", [NONE if one is None else f"{one:.0%} of a core" for one in cores])


def _resident(server: ServerFigures) -> str:
    resident = server.resident_bytes_by_role
    return NONE if resident is None else memory(sum(resident.values()))


def _gpu(server: ServerFigures, number: str) -> str:
    found = next((one for one in server.gpus or [] if one.gpu == number), None)
    if found is None:
        return NONE
    used = "" if found.memory_used_bytes is None else f", {memory(found.memory_used_bytes)}"
    busy = NONE if found.utilization_ratio is None else f"{found.utilization_ratio:.0%} busy"
    return busy + used


def rows_of_bucket(bucket: BatchBucket) -> str:
    """The batch sizes of a bucket: `4`, `5-8`, `9+`."""
    if bucket.last_rows is None:
        return f"{bucket.first_rows}+"
    if bucket.last_rows == bucket.first_rows:
        return str(bucket.first_rows)
    return f"{bucket.first_rows}-{bucket.last_rows}"
