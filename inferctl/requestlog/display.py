"""Lines of the request log on somebody's screen."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from rich.console import COLOR_SYSTEMS, Console
from rich.style import Style

from inferctl.requestlog.readable import Paint, plain, readable
from inferctl.requestlog.selection import Found


class Display:
    """Writes what was found to stdout: for people, or the lines as they are."""

    def __init__(self, stream: BinaryIO, paint: Paint = plain, *, as_json: bool = False) -> None:
        self._stream = stream
        self._paint = paint
        self._as_json = as_json

    def show(self, found: Iterable[Found]) -> None:
        """At once. Raises BrokenPipeError when nobody reads."""
        self._stream.write(b"".join(map(self._shown, found)))
        self._stream.flush()

    def _shown(self, each: Found) -> bytes:
        if self._as_json:
            return each.line + b"\n"
        return f"{readable(each.entry, self._paint)}\n".encode("ascii", "backslashreplace")


def painter(console: Console) -> Paint:
    """In the colours that a terminal has; none where it has none, or NO_COLOR is set."""
    if console.color_system is None or console.no_color:
        return plain
    system = COLOR_SYSTEMS[console.color_system]
    return lambda text, style: Style.parse(style).render(text, color_system=system)
