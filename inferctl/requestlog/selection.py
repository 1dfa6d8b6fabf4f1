"""Which lines of the request log are wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import orjson

from inferctl.errors import UsageError
from inferctl.requestlog.fields import FIELDS

DURATIONS = tuple(field.name for field in FIELDS if field.name.endswith("_ms"))

Entry = dict[str, Any]
Sieve = Callable[[bytes], Iterable[bytes]]

SECOND_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s)")
_STATUSES = re.compile(r"([1-5])xx|([1-5]\d\d)(?:-([1-5]\d\d))?", re.IGNORECASE)
# What JSON writes as it is; other names are not looked for in lines that are not parsed.
_PLAIN = re.compile(r"[A-Za-z0-9._:@-]+")


class Slow(NamedTuple):
    """A duration of a line, and how long it must be."""

    member: str
    least_ms: float


class Found(NamedTuple):
    """A line that is wanted, without its end, and what it says."""

    line: bytes
    entry: Entry


class Selection:
    """Every condition must hold; without any every line is wanted.

    `members` must be equal, of `statuses` one must fit, and each that is `slow` be as long.
    `unreadable` counts lines that are no JSON object, of those that were looked at.
    """

    def __init__(
        self,
        members: Mapping[str, str] | None = None,
        statuses: Iterable[range] = (),
        slow: Iterable[Slow] = (),
    ) -> None:
        self._members = dict(members or {})
        self._statuses = frozenset(status for each in statuses for status in each)
        self._slow = tuple(slow)
        self._lines_of = self._sieve()
        self.unreadable = 0

    def _sieve(self) -> Sieve:
        """Finds the lines of a block that may be wanted: most of a long file need not be parsed."""
        plain = [value for value in self._members.values() if _PLAIN.fullmatch(value)]
        if plain:
            needle = re.escape(max(plain, key=len))
        elif self._statuses:
            needle = rf'"status"\s*:\s*(?:{"|".join(map(str, sorted(self._statuses)))})'
        elif self._slow and self._slow[0].least_ms >= 1:
            # As many digits before the point, or more.
            member, least_ms = self._slow[0]
            needle = rf'"{member}"\s*:\s*\d{{{len(str(int(least_ms)))},}}'
        else:
            return bytes.splitlines
        return partial(_lines_with, re.compile(needle.encode("ascii")))

    def of(self, block: bytes) -> list[Found]:
        """Those of a block of whole lines that are wanted."""
        found = []
        for line in self._lines_of(block):
            try:
                entry = orjson.loads(line)
            except ValueError:
                self.unreadable += 1
                continue
            if not isinstance(entry, dict):
                self.unreadable += 1
            elif self._wants(entry):
                found.append(Found(line, entry))
        return found

    def _wants(self, entry: Entry) -> bool:
        if self._statuses and entry.get("status") not in self._statuses:
            return False
        for member, least_ms in self._slow:
            took_ms = entry.get(member)
            if not isinstance(took_ms, int | float) or took_ms < least_ms:
                return False
        return all(entry.get(name) == value for name, value in self._members.items())


def _lines_with(needle: re.Pattern[bytes], block: bytes) -> Iterator[bytes]:
    """The lines of a block in which it is."""
    place = needle.search(block)
    while place:
        end = block.find(b"\n", place.start())
        end = len(block) if end < 0 else end
        yield block[block.rfind(b"\n", 0, place.start()) + 1 : end]
        place = needle.search(block, end)


def parse_slow(text: str) -> Slow:
    """Read `100ms`, `1.5s` or `800us`, of the whole or of a phase: `queue=100ms`.

    Raises UsageError.
    """
    phase, _, duration = text.rpartition("=")
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise UsageError(f"{text!r} is no duration", where="--slow", hint="write 100ms or 1.5s")
    member = f"{phase or 'total'}_ms"
    if member not in DURATIONS:
        phases = ", ".join(name.removesuffix("_ms") for name in DURATIONS)
        raise UsageError(f"{phase!r} is no phase", where="--slow", hint=f"one of {phases}")
    return Slow(member, float(match[1]) * SECOND_MS[match[2]])


def parse_statuses(text: str) -> Iterator[range]:
    """Read `5xx`, `429`, `200-299`, or several with commas. Raises UsageError."""
    for part in text.split(","):
        match = _STATUSES.fullmatch(part.strip())
        if match is None:
            hint = "write 5xx, 429 or 200-299"
            raise UsageError(f"{part!r} is no HTTP status", where="--status", hint=hint)
        if match[1]:
            yield range(int(match[1]) * 100, int(match[1]) * 100 + 100)
        else:
            yield range(int(match[2]), int(match[3] or match[2]) + 1)
