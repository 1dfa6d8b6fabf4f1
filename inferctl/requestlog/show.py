"""`inferctl logs`: the last lines that are wanted, and then those that come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Protocol

from inferctl.requestlog.reading import backwards, end_of_lines, follow, forwards, open_log
from inferctl.requestlog.selection import Found, Selection


class Shows(Protocol):
    """What becomes of the lines that are wanted."""

    def show(self, found: Iterable[Found]) -> None:
        """These are. Raises BrokenPipeError when nobody reads."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to show: of the wanted lines the last ones, all if that is None; then those that come,
    if it `follows`."""

    selection: Selection
    last: int | None
    follows: bool


def show_file(path: Path, plan: Plan, display: Shows) -> None:
    """Show a file, for ever if it is followed. Raises UsageError or BrokenPipeError."""
    with open_log(path) as file:
        if plan.last is None:
            _show_all(file, plan.selection, display)
            return
        end = end_of_lines(file)
        display.show(_last(plan.last, backwards(file, end), plan.selection))
        if plan.follows:
            file.seek(end)
            for block in follow(path, file):
                display.show(plan.selection.of(block))


def show_stream(stream: BufferedReader, plan: Plan, display: Shows) -> None:
    """Show what comes from a pipe, to its end. Raises BrokenPipeError."""
    if plan.last is None:
        _show_all(stream, plan.selection, display)
    else:
        found = chain.from_iterable(map(plan.selection.of, forwards(stream)))
        display.show(deque(found, plan.last))


def _show_all(stream: BufferedReader, selection: Selection, display: Shows) -> None:
    for block in forwards(stream):
        display.show(selection.of(block))


def _last(count: int, blocks: Iterable[bytes], selection: Selection) -> list[Found]:
    """The last ones that are wanted, of blocks of which the last one comes first."""
    found: list[Found] = []
    while len(found) < count and (block := next(iter(blocks), None)) is not None:
        found += reversed(selection.of(block))
    return found[:count][::-1]
