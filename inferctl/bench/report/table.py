"""The report on the terminal: the verdict, the figures, the batch sizes."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inferctl.bench.figures import BatchBucket
from inferctl.bench.gate.ruling import Ruling
from inferctl.bench.report.record import Report
from inferctl.bench.report.verdict import Status, verdict_of
from inferctl.bench.report.words import GOODPUT, rows_of, rows_of_bucket

BAR_CELLS = 32
STYLES: dict[Status, str] = {
    "measured": "bold", "passed": "bold green", "failed": "bold red", "doubtful": "bold yellow",
}  # fmt: skip
# Loads that have a column each; of more the table has a line each, with less in it.
MAX_COLUMNS = 4


def render(report: Report, ruling: Ruling | None = None) -> RenderableType:
    """The verdict first, then what it is made of."""
    verdict = verdict_of(report, ruling)
    style = STYLES[verdict.status]
    head = Text.assemble((f"{verdict.title}: ", style), (verdict.headline, "bold"))
    told = [Text(f"  {sentence}") for sentence in verdict.sentences]
    few = len(report.loads) <= MAX_COLUMNS
    bars = _bars(report.loads[0].server.batch_histogram) if len(report.loads) == 1 else ()
    return Group(head, *told, _where(report), _table(report) if few else _lines(report), *bars)


def _where(report: Report) -> Text:
    settings, model, inputs = report.settings, report.model, report.settings.inputs
    spoken = f", {inputs.dialect}" if inputs.dialect else ""
    return Text(
        f"{model.name} version {model.version} at {settings.url}, {inputs.count} inputs "
        f"({inputs.source}{spoken}), {settings.warmup_s:g} s of warm-up",
        style="dim",
    )


def _table(report: Report) -> Table:
    """A column for each load."""
    table = Table(show_header=True)
    table.add_column("")
    for load in report.loads:
        table.add_column(f"{load.label}, {load.duration_s:.3g} s", justify="right", no_wrap=True)
    for row in rows_of(report.loads):
        if row.is_new_part:
            table.add_section()
        table.add_row(row.name, *row.values)
    return table


def _lines(report: Report) -> Table:
    """A line for each load."""
    table = Table()
    wanted = ("throughput", "errors", "latency p50", "latency p99", "mean batch", GOODPUT)
    rows = [row for row in rows_of(report.loads) if row.name.partition(",")[0] in wanted]
    table.add_column("load")
    for row in rows:
        table.add_column(row.name, justify="right", no_wrap=True)
    for number, load in enumerate(report.loads):
        table.add_row(load.label, *(row.values[number] for row in rows))
    return table


def _bars(buckets: list[BatchBucket] | None) -> Iterator[RenderableType]:
    if buckets:
        most = max(bucket.batches for bucket in buckets)
        chart = Table("batch rows", "batches", "", box=None, padding=(0, 1))
        chart.columns[0].justify = chart.columns[1].justify = "right"
        for bucket in buckets:
            bar = "█" * -(-bucket.batches * BAR_CELLS // most)
            chart.add_row(rows_of_bucket(bucket), f"{bucket.batches:,}", bar)
        yield chart
