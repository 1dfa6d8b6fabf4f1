"""The result as one HTML file: no script, and nothing that is loaded from anywhere."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from inferctl.errors import OutputError
from inferctl.tune.frontier import Spot, frontier, spots
from inferctl.tune.recommended import recommended_text
from inferctl.tune.report import chosen_spot, notes, ranked, row, title, verdict
from inferctl.tune.run import Tuned

# A browser refuses whatever is not in the file itself; an icon of nothing is not asked for.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 720, 320, 64, 40, 12
# Beyond so many times the limit all is as far off.
LIMITS_SHOWN = 4.0
STYLE = """
body { max-width: 64rem; margin: 0 auto; padding: 1.5rem; background: var(--ground);
  color: var(--ink); font: 0.9375rem/1.5 var(--sans); font-variant-numeric: tabular-nums; }
h1 { font-size: 1.0625rem; font-weight: 500; color: var(--muted); }
.verdict { padding: 1.25rem 1.5rem; border-left: 6px solid var(--good); }
.verdict[data-status="failed"] { border-left-color: var(--bad); }
.headline { margin: 0; font-size: 1.375rem; font-weight: 650; overflow-wrap: anywhere; }
section { margin: 1rem 0; padding: 1rem 1.25rem; border: 1px solid var(--line);
  border-radius: var(--round); background: var(--surface); overflow-x: auto; }
svg { display: block; width: 100%; height: auto; }
text { font: 12px var(--sans); fill: var(--muted); }
.grid { stroke: var(--line); } .limit { stroke: var(--bad); stroke-dasharray: 4 3; }
.front { fill: none; stroke: var(--accent); stroke-width: 2; }
.spot { fill: var(--strong-line); } .best { fill: var(--accent); } .chosen { fill: var(--good); }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 0.2rem 0.75rem 0.2rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; }
pre { margin: 0; font: 0.8125rem/1.5 var(--mono); }
"""


def write_page(tuned: Tuned, file: Path) -> None:
    """Write the page, whole or not at all. Raises OutputError."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        partial.write_text(to_html(tuned), encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write the page: {error.strerror}", where=str(file), hint="name another"
        ) from None


def to_html(tuned: Tuned) -> str:
    """The page: the verdict first, then the frontier, the table and the settings."""
    colours = files("inferctl").joinpath("ui", "colours.css").read_text(encoding="utf-8")
    status = "failed" if tuned.winner is None else "passed"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">',
        f"<title>{escape(tuned.plan.name)}: inferctl tune</title>",
        f"<style>{colours}{STYLE}</style></head><body>",
        f"<h1>inferctl tune: {escape(title(tuned))}</h1>",
        f'<section class="verdict" data-status="{status}">',
        f'<p class="headline">{escape(verdict(tuned))}</p>',
        *(f"<p>{escape(note)}</p>" for note in notes(tuned)),
        "</section>",
        *_frontier(tuned),
        *_table(tuned),
    ]
    if tuned.winner is not None:
        parts.append(f"<section><pre>{escape(recommended_text(tuned))}</pre></section>")
    return "\n".join([*parts, "</body></html>", ""])


def _frontier(tuned: Tuned) -> Iterator[str]:
    found = spots(tuned.probes)
    if found:
        yield "<section>"
        yield from Picture(found, tuned.plan.slo.limit_ms).drawn(chosen_spot(tuned))
        yield "</section>"


class Picture:
    """Spots in pixels: goodput to the right, the percentile upwards by its ratio."""

    def __init__(self, found: Sequence[Spot], limit_ms: float) -> None:
        self._found, self._limit_ms = found, limit_ms
        self._most_per_s = max(spot.per_s for spot in found)
        self._low_ms = min(limit_ms / 2, *(spot.latency_ms for spot in found))
        self._high_ms = LIMITS_SHOWN * limit_ms

    def drawn(self, chosen: Spot | None) -> Iterator[str]:
        """The picture's lines; who points at a spot is told what it is."""
        yield f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="frontier">'
        for latency_ms in (self._low_ms, self._limit_ms, self._high_ms):
            kind = "limit" if latency_ms == self._limit_ms else "grid"
            y = self._y(latency_ms)
            yield f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - EDGE}" y1="{y}" y2="{y}"/>'
            yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{latency_ms:,.3g} ms</text>'
        best = frontier(self._found)
        line = " ".join(f"{self._x(spot.per_s)},{self._y(spot.latency_ms)}" for spot in best)
        yield f'<polyline class="front" points="{line}"/>'
        for kind, shown in (
            ("spot", self._found), ("best", best), ("chosen", [chosen] if chosen else []),
        ):  # fmt: skip
            yield from (self._dot(spot, kind) for spot in shown)
        yield (
            f'<text x="{WIDTH - EDGE}" y="{HEIGHT - EDGE}" text-anchor="end">'
            f"answers within the limit per second, to {self._most_per_s:,.4g}</text></svg>"
        )

    def _dot(self, spot: Spot, kind: str) -> str:
        told = escape(f"{spot.candidate}: {spot.per_s:,.4g}/s, {spot.latency_ms:,.3g} ms")
        return (
            f'<circle class="{kind}" cx="{self._x(spot.per_s)}" cy="{self._y(spot.latency_ms)}" '
            f'r="{6 if kind == "chosen" else 4}"><title>{told}</title></circle>'
        )

    def _x(self, per_s: float) -> float:
        return round(LEFT + per_s / self._most_per_s * (WIDTH - LEFT - 2 * EDGE), 1)

    def _y(self, latency_ms: float) -> float:
        held = min(latency_ms, self._high_ms)
        share = math.log(held / self._low_ms) / math.log(self._high_ms / self._low_ms)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - EDGE), 1)


def _table(tuned: Tuned) -> Iterator[str]:
    names = ("settings", "carries", f"p{tuned.plan.slo.percent:g}", "server CPU", "measured")
    yield "<section><table><thead><tr>" + "".join(f"<th>{name}</th>" for name in names) + "</tr>"
    yield "</thead><tbody>"
    for candidate in ranked(tuned):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row(tuned, candidate))
        yield f"<tr>{cells}</tr>"
    yield "</tbody></table></section>"
