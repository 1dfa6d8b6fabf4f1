"""Scaling by simulation: `python -m benchmarks.simulate [--chart docs/img/scaling.png]`.

The engine's real batcher in front of a simulated GPU: rows that come at random at rates up to what
no machine of ours serves, idle-first against the classic window; then overload, more instances,
and texts of unlike length. The device's costs are assumptions, every one a flag. Seeded: the same
flags print the same tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.command import run
from benchmarks.report import print_sheets
from benchmarks.scenarios import (
    ROW_BUCKETS,
    Bench,
    by_rate,
    device_sheet,
    overload_sheet,
    rate_sheets,
    text_sheet,
)
from benchmarks.simulation import Device
from inferctl.errors import UsageError


def main(
    rates: Annotated[
        str, typer.Option(help="Rows/s")
    ] = "500,1000,2000,5000,8000,10000,12000,15000,20000",
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="Simulated, per point")] = 5.0,
    fixed_ms: Annotated[float, typer.Option(min=0.001, help="A run's own cost")] = 1.2,
    row_ms: Annotated[float, typer.Option(min=0.0, help="And per row of it")] = 0.04,
    token_us: Annotated[float, typer.Option(min=0.0, help="Per token, for texts")] = 1.0,
    timeout_ms: Annotated[float, typer.Option(min=1, help="Every row's deadline")] = 100.0,
    instances: Annotated[int, typer.Option(min=1, max=64, help="Runners")] = 1,
    overlap: Annotated[float, typer.Option(min=0, max=1, help="Of the own cost, shared")] = 1.0,
    seed: Annotated[int, typer.Option()] = 1,
    chart: Annotated[Path | None, typer.Option(help="Draw the rates: a PNG")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print for a document")] = False,
) -> None:
    """Simulate, print and draw."""
    device = Device(fixed_ms / 1000, row_ms / 1000, ROW_BUCKETS, overlap=overlap)
    bench = Bench(device, seconds, seed, timeout_ms / 1000, instances)
    found = by_rate(bench, parsed(rates))
    sheets = (overload_sheet(bench), device_sheet(bench), text_sheet(bench, token_us / 1e6))
    print_sheets((*rate_sheets(found), *sheets), markdown=markdown)
    if chart is not None:
        # matplotlib is in the benchmarks extra, and only a chart needs it.
        from benchmarks.simulate_chart import draw  # noqa: PLC0415

        draw(found, chart, bench.timeout_s)


def parsed(rates: str) -> list[float]:
    """Rates, rows/s. Raises UsageError."""
    try:
        found = [float(part) for part in rates.split(",")]
    except ValueError:
        found = []
    if not found or not min(found) > 0:
        raise UsageError(f"not rates: {rates!r}", where="--rates", hint="500,5000")
    return found


if __name__ == "__main__":
    run(main)
