"""`inferctl tune`: find the settings under which a model carries the most within a limit."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inferctl.cli.ending import end_as_by_ctrl_c
from inferctl.cli.serving import Assign
from inferctl.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inferctl.tune.run import OnTick, Tuned


def tune(
    model: Annotated[Path, typer.Argument(help="A bundle, or the folder of a model's versions")],
    slo: Annotated[str, typer.Option(help="The limit to keep: p99<50ms, in quotes")],
    budget: Annotated[str, typer.Option(help="Time to take: 90s, 5m")] = "5m",
    variant: Annotated[
        list[Path] | None,
        typer.Option(help="A bundle of the same model elsewhere, in another precision say"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of images, or file of texts, one per line. [made-up inputs]"),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with the settings of now", metavar="FILE")
    ] = None,
    assign: Assign = None,
    out: Annotated[Path, typer.Option(help="TOML file to write", metavar="FILE")] = Path(
        "tuned.toml"
    ),
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that no search wrote")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write the result as a page too", metavar="FILE")
    ] = None,
    state: Annotated[
        Path, typer.Option(help="Folder that keeps what was measured", metavar="FOLDER")
    ] = Path("state"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Measure anew what was measured before")
    ] = False,
) -> None:
    """Search for the settings with which a model carries the most requests within a limit.

    It serves candidates itself, on a free port, and measures them under open-loop load. Ctrl-C
    ends it with what is known by then; the same command goes on from there.
    """
    from rich.console import Console

    from inferctl.bench import parse_duration
    from inferctl.bench.slo import parse_slo
    from inferctl.files import check_writable
    from inferctl.sources import load_settings, settings_tree, surroundings
    from inferctl.tune.bench import opener
    from inferctl.tune.page import write_page
    from inferctl.tune.plan import read_plan
    from inferctl.tune.recommended import check_target, write_recommended
    from inferctl.tune.report import render
    from inferctl.tune.run import tune as search

    check_target(out, force=force)
    if html is not None:
        check_writable(html, "--html")
    flags = settings_tree(assign or [])
    plan = read_plan(
        model, variant or [], load_settings(flags, config).settings, config=config, flags=flags,
        slo=parse_slo(slo), budget_s=parse_duration(budget), data=data, state=state, fresh=fresh,
        surroundings=surroundings(),
    )  # fmt: skip
    end_as_by_ctrl_c()
    with _progress(plan.budget_s) as on_tick:
        tuned = search(plan, opener(plan), on_tick)
    Console(file=sys.stdout, highlight=False).print(render(tuned))
    if html is not None:
        write_page(tuned, html)
    if tuned.winner is not None:
        write_recommended(tuned, out, force)
        sys.stderr.write(f"wrote {out}: inferctl serve --config {out}\n")
    _complain(tuned)


def _complain(tuned: Tuned) -> None:
    """Raise BenchError where there is no result, or only a part of one; how to go on is in it."""
    kept = f"{tuned.measured + tuned.recalled} measurements are kept in {tuned.state_file}"
    if tuned.interrupted:
        raise BenchError(f"interrupted; {kept}", hint="the same command goes on from there")
    if tuned.winner is None:
        raise BenchError(
            f"nothing measured keeps {tuned.plan.slo}",
            hint="allow more time per request, or a longer --budget",
        )


@contextmanager
def _progress(budget_s: float) -> Iterator[OnTick]:
    """Show on stderr what is measured, and the time that is left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    console = Console(file=sys.stderr)
    columns = (
        SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.fields[left]}"),
        TextColumn("{task.description}"),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        row = shown.add_task("Starting", total=budget_s, left="")

        def on_tick(text: str, left_s: float) -> None:
            shown.update(
                row, description=text, completed=budget_s - left_s,
                left=f"{max(0.0, left_s):.0f} s left",
            )  # fmt: skip

        yield on_tick
