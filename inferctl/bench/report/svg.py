"""Inline SVG: scales, ticks and a frame with axes; colours are the page's, by class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 280
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 12, 44
TICKS = 6
STEPS = (1, 2, 5, 10)
# Where a logarithmic scale begins at the lowest: a nanosecond in milliseconds.
SMALLEST = 1e-6


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` laid out from `begin` to `end` pixels; `log`: by their ratio."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value; one outside lies on the edge."""
        held = min(max(value, self.low), self.high)
        if self.log:
            share = math.log(held / self.low) / math.log(self.high / self.low)
        else:
            share = (held - self.low) / (self.high - self.low)
        return round(self.begin + share * (self.end - self.begin), 2)

    def ticks(self) -> list[float]:
        """Round values for an axis."""
        return _log_ticks(self.low, self.high) if self.log else _ticks(self.low, self.high)


def across(low: float, high: float, *, log: bool = False) -> Scale:
    """A scale from left to right."""
    low = _positive(low, log)
    return Scale(low, _above(low, high), LEFT, WIDTH - RIGHT, log)


def upwards(low: float, high: float, *, log: bool = False) -> Scale:
    """A scale from bottom to top, with some room above the highest."""
    low = _positive(low, log)
    high = _above(low, high)
    room = high * (high / low) ** 0.06 if log else high + 0.06 * (high - low)
    return Scale(low, room, HEIGHT - BOTTOM, TOP, log)


def frame(
    x: Scale, y: Scale, body: Iterable[str], *, title: str, x_label: str, y_label: str,
    x_names: dict[float, str] | None = None,
) -> str:  # fmt: skip
    """A plot: grid, axes, names of `x_names` in the place of round values, and what is drawn."""
    lines = []
    for value in y.ticks():
        at = y.at(value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        lines.append(text(LEFT - 8, at + 4, number(value), "tick end"))
    names = x_names or {value: number(value) for value in x.ticks()}
    for value, name in names.items():
        at = x.at(value)
        lines.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        lines.append(text(at, HEIGHT - BOTTOM + 17, name, "tick middle"))
    lines.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "label middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    lines.append(
        f'<text class="label middle" transform="translate(14 {middle:g}) rotate(-90)">'
        f"{escape(y_label)}</text>"
    )
    return drawing([*lines, *body], title=title)


def drawing(body: Iterable[str], *, title: str, height: int = HEIGHT) -> str:
    """An SVG element that is as wide as its place, and says what it shows."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"{''.join(body)}</svg>"
    )


def line(points: Sequence[tuple[float, float]], kind: str) -> str:
    """A line through points, in pixels."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    return f'<polyline class="line {kind}" points="{path}"/>'


def box(x: float, y: float, width: float, height: float, kind: str, told: str) -> str:
    """A filled box; `told` is shown to whoever points at it."""
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{max(width, 0.5):g}" '
        f'height="{max(height, 0):g}"><title>{escape(told)}</title></rect>'
    )


def dot(x: float, y: float, kind: str, told: str) -> str:
    """A point that says what it is."""
    return (
        f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="4"><title>{escape(told)}</title></circle>'
    )


def text(x: float, y: float, content: str, kind: str) -> str:
    """A word."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(content)}</text>'


def number(value: float) -> str:
    """A tick in few letters: 1,500 or 0.25."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _positive(low: float, log: bool) -> float:
    """A lower end of which there is a logarithm, if one is wanted."""
    return max(low, SMALLEST) if log else low


def _above(low: float, high: float) -> float:
    """An upper end that is above the lower one."""
    return high if high > low else low + (abs(low) or 1.0)


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * one for one in STEPS if power * one >= rough)
    first = math.ceil(low / step)
    return [count * step for count in range(first, math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [one * 10.0**power for power in decades for one in (1, 2, 5)]
    inside = [value for value in found if low <= value <= high]
    if len(inside) > TICKS + 2:
        inside = [value for value in inside if math.log10(value) % 1 < 1e-9]
    return inside or [low, high]
