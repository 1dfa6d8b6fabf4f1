"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterable

NONE = "-"
BLOCKS = "▁▂▃▄▅▆▇█"
# From here on a number has no places behind the point.
LARGE = 100
# Of a series' name, what is behind the quantity.
UNITS = {"bytes": ("GiB", 2**-30), "ratio": ("%", 100), "watts": ("W", 1), "celsius": ("°C", 1)}


def shown(value: float | None, digits: int = 1, unit: str = "") -> str:
    """A number with its unit, if there is a number."""
    if value is None:
        return NONE
    places = 0 if abs(value) >= LARGE else digits
    return f"{value:,.{places}f}{unit}"


def memory(size_bytes: float) -> str:
    """Bytes in the unit that suits them."""
    if size_bytes >= 2**30:
        return shown(size_bytes / 2**30, 1, " GiB")
    return shown(size_bytes / 2**20, 0, " MiB")


def duration(seconds: float) -> str:
    """Seconds in the two largest units, of which the smaller is left out where it is small."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes >= 2 else f"{60 * minutes + rest} s"


def of_series(name: str, value: float) -> str:
    """A gauge by its name: `memory_used_bytes` is `memory used 3.1 GiB`."""
    quantity, _, last = name.rpartition("_")
    if last not in UNITS:
        return f"{name.replace('_', ' ')} {value:,.10g}"
    unit, factor = UNITS[last]
    return f"{quantity.replace('_', ' ')} {shown(value * factor)} {unit}"


def sparkline(values: Iterable[float | None]) -> str:
    """A bar for each, the largest one full; a blank where there is none."""
    known = list(values)
    most = max((value for value in known if value is not None), default=0.0)
    return "".join(" " if value is None else _bar(value, most) for value in known)


def _bar(value: float, most: float) -> str:
    return BLOCKS[round(value / most * (len(BLOCKS) - 1))] if most else BLOCKS[0]


def printable(text: str) -> str:
    """What a server says, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
