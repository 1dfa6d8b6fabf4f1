"""The result of a measurement: for people a table, for programs JSON that keeps its form."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import orjson
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inferctl import __version__
from inferctl.bench.figures import BatchBucket, ClientFigures, Latency, ServerFigures
from inferctl.bench.plan import Inputs, Plan
from inferctl.bench.target import Target
from inferctl.cores import available_cores
from inferctl.errors import OutputError

SCHEMA_VERSION = 1

# Above this share of its one core the generator is late with sending and with taking the time.
BUSY_CORES = 0.8
# Scrapes and window differ by what is under way, and by this share at most; more has other reasons.
SAME_COUNT = 0.1
BAR_CELLS = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for. Durations in seconds; `inputs` is what was sent in turn."""

    url: str
    users: int
    duration_s: float
    warmup_s: float
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class Model:
    """The model that answered."""

    name: str
    version: int
    task: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the generator ran; the server too if the URL is local."""

    cores: int
    platform: str
    python: str


@dataclass(frozen=True, slots=True)
class Report:
    """All of a measurement. `write_json` writes exactly these fields, nested as here.

    A field is never renamed or given another meaning without a new `schema_version`; new ones may
    be added. What is not known is null. `created_at` is UTC in ISO 8601; `generator_cpu_cores` is
    the generator's CPU seconds per second of the window, of at most 1.
    """

    schema_version: int
    inferctl_version: str
    created_at: str
    settings: Settings
    model: Model
    machine: Machine
    client: ClientFigures
    server: ServerFigures
    generator_cpu_cores: float | None
    notes: list[str]


def make_report(
    plan: Plan,
    target: Target,
    inputs: Inputs,
    client: ClientFigures,
    server: ServerFigures,
    generator_cpu_cores: float | None,
) -> Report:
    """Put figures, circumstances and what to beware of together."""
    model = target.model
    return Report(
        schema_version=SCHEMA_VERSION,
        inferctl_version=__version__,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=Settings(target.url, plan.users, plan.duration_s, plan.warmup_s, inputs),
        model=Model(model.name, model.version, model.task),
        machine=Machine(available_cores(), platform.platform(), platform.python_version()),
        client=client,
        server=server,
        generator_cpu_cores=generator_cpu_cores,
        notes=[
            *_notes(inputs, client, generator_cpu_cores),
            *_count_notes(client, server, plan.users),
        ],
    )


def _notes(inputs: Inputs, client: ClientFigures, cores: float | None) -> Iterator[str]:
    if cores is not None and cores > BUSY_CORES:
        yield (
            f"The load generator used {cores:.0%} of a core: the client is the limit, the server "
            "can do more. Run loadtests/locustfile.py with --processes, or on another machine."
        )
    if client.failed:
        total = client.answered + client.failed
        yield (
            f"{client.failed:,} of {total:,} requests failed: throughput and latency are those "
            "of the answered ones."
        )
    if inputs.count < inputs.available:
        yield f"{inputs.count:,} of {inputs.available:,} inputs were used, evenly spaced."


def _count_notes(client: ClientFigures, server: ServerFigures, users: int) -> Iterator[str]:
    """Whether both sides speak of the same requests."""
    counted = (server.requests_by_outcome or {}).get("ok")
    if counted is None:
        return
    excess = counted - client.answered
    if abs(excess) > users + SAME_COUNT * client.answered:
        reason = "someone else used it too" if excess > 0 else "the URL leads to several servers"
        yield (
            f"The server counted {counted:,} good answers, the generator {client.answered:,}: "
            f"{reason}, so the figures of the two sides are not of the same requests."
        )


def check_writable(path: Path) -> None:
    """Raise OutputError when a report could not be written to `path` later."""
    if path.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(
            "cannot write the report", where=str(path), hint="--json takes a file in a folder "
            "that exists and is writable",
        )  # fmt: skip


def write_json(report: Report, path: Path) -> None:
    """Write the report, whole or not at all. Raises OutputError."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write the report: {error.strerror}", where=str(path)) from None


def render(report: Report) -> RenderableType:
    """The report as a table, the batch sizes as bars, and the notes."""
    model, settings = report.model, report.settings
    title = Text(
        f"{model.name} version {model.version} at {settings.url}: {settings.users} users, "
        f"{settings.duration_s:g} s after {settings.warmup_s:g} s of warm-up, "
        f"{settings.inputs.count} inputs ({settings.inputs.source})",
        style="bold",
    )
    table = Table(show_header=False)
    for rows in (_client_rows(report.client), _server_rows(report)):
        for name, value in rows:
            table.add_row(name, value)
        table.add_section()
    notes = [Text(f"Note: {note}", style="yellow") for note in report.notes]
    return Group(title, table, *_bars(report.server.batch_histogram), *notes)


def _client_rows(client: ClientFigures) -> Iterator[tuple[str, str]]:
    errors = (f"{status.replace('_', ' ')} x {count:,}" for status, count in client.errors.items())
    yield "answered", f"{client.answered:,} requests"
    yield "errors", ", ".join(errors) or "none"
    yield "throughput", f"{client.throughput_per_s:,.1f} requests/s"
    yield from _latency_rows(client.latency)


def _latency_rows(latency: Latency | None) -> Iterator[tuple[str, str]]:
    if latency is not None:
        yield "latency p50", _ms(latency.p50_ms)
        yield "latency p90", _ms(latency.p90_ms)
        yield "latency p95", _ms(latency.p95_ms)
        yield "latency p99", _ms(latency.p99_ms)
        yield "latency max", _ms(latency.max_ms)


def _server_rows(report: Report) -> Iterator[tuple[str, str]]:
    server, cores = report.server, report.generator_cpu_cores
    rows = server.mean_batch_rows
    yield "mean batch", "-" if rows is None else f"{rows:.2f} rows"
    yield "server decode, mean", _ms(server.decode_mean_ms)
    yield "server queue, mean", _ms(server.queue_mean_ms)
    yield "server run, mean", _ms(server.run_mean_ms)
    yield "server CPU per request", _ms(server.cpu_ms_per_request)
    yield "generator CPU", "-" if cores is None else f"{cores:.0%} of a core"


def _ms(value_ms: float | None) -> str:
    return "-" if value_ms is None else f"{value_ms:,.2f} ms"


def _bars(buckets: list[BatchBucket] | None) -> Iterator[RenderableType]:
    if buckets:
        most = max(bucket.batches for bucket in buckets)
        chart = Table("batch rows", "batches", "", box=None, padding=(0, 1))
        chart.columns[0].justify = chart.columns[1].justify = "right"
        for bucket in buckets:
            bar = "█" * -(-bucket.batches * BAR_CELLS // most)
            chart.add_row(_range(bucket), f"{bucket.batches:,}", bar)
        yield chart


def _range(bucket: BatchBucket) -> str:
    if bucket.last_rows is None:
        return f"{bucket.first_rows}+"
    if bucket.last_rows == bucket.first_rows:
        return str(bucket.first_rows)
    return f"{bucket.first_rows}-{bucket.last_rows}"
