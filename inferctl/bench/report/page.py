"""The report as one HTML file: no script, and nothing that is loaded from anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files

from inferctl.bench.gate.ruling import Ruling
from inferctl.bench.report.markdown import circumstances
from inferctl.bench.report.plots import Plot, plots_of
from inferctl.bench.report.record import LoadRecord, Report
from inferctl.bench.report.verdict import Verdict, verdict_of
from inferctl.bench.report.words import error_rate, ms, percentile_ms, rows_of, share

# A browser refuses whatever is not in the file itself.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# An icon of nothing: without one a browser asks the file's server for one.
ICON = "data:,"


def to_html(report: Report, ruling: Ruling | None = None) -> str:
    """The page: the verdict and the key figures in its first screen, then plots and tables."""
    verdict = verdict_of(report, ruling)
    package = files("inferctl")
    style = package.joinpath("ui", "colours.css").read_text(encoding="utf-8") + package.joinpath(
        "bench", "report", "page.css"
    ).read_text(encoding="utf-8")
    title = f"{report.model.name} at {report.settings.url}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f'<link rel="icon" href="{ICON}"><title>{escape(title)}: inferctl bench</title>',
        f"<style>{style}</style></head><body>",
        f"<h1>inferctl bench: {escape(title)}, {escape(report.created_at)}</h1>",
        *_verdict(verdict),
        *_key(max(report.loads, key=lambda load: load.client.throughput_per_s)),
        *_checks(ruling),
        '<div class="plots">',
        *map(_figure, plots_of(report.loads)),
        "</div>",
        *_figures(report),
        *_about(report),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _verdict(verdict: Verdict) -> Iterator[str]:
    yield f'<section class="verdict" data-status="{verdict.status}">'
    yield f'<p class="status">{verdict.title}</p>'
    yield f'<p class="headline">{escape(verdict.headline)}</p>'
    if verdict.sentences:
        yield "<ul>" + "".join(f"<li>{escape(one)}</li>" for one in verdict.sentences) + "</ul>"
    yield "</section>"


def _key(load: LoadRecord) -> Iterator[str]:
    """The figures that one looks for first, of the load that gave most."""
    server = load.server
    rows = server.mean_batch_rows
    found = {
        "requests per second": f"{load.client.throughput_per_s:,.1f}",
        "p50": ms(percentile_ms(load, 50)),
        "p99": ms(percentile_ms(load, 99)),
        "errors": share(error_rate(load)),
        "mean batch": "-" if rows is None else f"{rows:.2f} rows",
        "server CPU per request": ms(server.cpu_ms_per_request),
    }
    yield '<dl class="key">'
    yield from (
        f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in found.items()
    )
    yield "</dl>"


def _checks(ruling: Ruling | None) -> Iterator[str]:
    if ruling is None or not ruling.cases:
        return
    yield '<section class="part"><h2>Checks</h2><table><tbody>'
    for case in sorted(ruling.cases, key=lambda case: case.passed):
        word = "passed" if case.passed else "failed"
        yield (
            f'<tr><td>{escape(case.name)}</td><td class="{word}">{word}</td>'
            f"<td>{escape(case.detail)}</td></tr>"
        )
    yield "</tbody></table></section>"


def _figure(plot: Plot) -> str:
    keys = "".join(
        f'<li><svg viewBox="0 0 11 7"><rect class="{_filled(kind)}" width="11" height="7"/></svg>'
        f"{escape(name)}</li>"
        for kind, name in plot.legend
    )
    legend = f'<ul class="legend">{keys}</ul>' if keys else ""
    return f"<figure><h2>{escape(plot.heading)}</h2>{plot.picture}{legend}</figure>"


def _filled(kind: str) -> str:
    """The class of a legend's box: parts are filled as they are, a line's colour is a fill here."""
    return kind if kind.startswith("p") else f"key-{kind}"


def _figures(report: Report) -> Iterator[str]:
    yield '<section class="part"><h2>Figures</h2><table><thead><tr><th></th>'
    yield "".join(
        f"<th>{escape(load.label)}, {load.duration_s:.3g} s</th>" for load in report.loads
    )
    yield "</tr></thead><tbody>"
    for row in rows_of(report.loads):
        cells = "".join(f"<td>{escape(value)}</td>" for value in row.values)
        kind = ' class="new"' if row.is_new_part else ""
        yield f"<tr{kind}><td>{escape(row.name)}</td>{cells}</tr>"
    yield "</tbody></table></section>"


def _about(report: Report) -> Iterator[str]:
    yield '<section class="part"><h2>What was measured</h2><dl class="about">'
    for name, value in circumstances(report):
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
    yield "</dl></section>"
