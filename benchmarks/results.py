"""Results on disk: a JSON line for each point, ceiling and overload, appended as they come."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ceiling import Ceiling
from benchmarks.load import Cost, Load, Point
from inferctl.errors import UsageError


@dataclass(frozen=True, slots=True)
class Overload:
    """A server before, during and after far more clients than it can serve.

    `recovery_s` is from the end of the load to the first answer in under 250 ms, None without one.
    """

    workload: str
    server: str
    config: str
    clients: int
    round: int
    before: Load
    during: Load
    pss_before_mb: float
    pss_after_mb: float
    recovery_s: float | None


Record = Point | Ceiling | Overload


@dataclass(slots=True)
class Results:
    """Everything measured, by kind."""

    points: list[Point] = field(default_factory=list)
    ceilings: list[Ceiling] = field(default_factory=list)
    overloads: list[Overload] = field(default_factory=list)


def append(path: Path, records: Iterable[Record]) -> None:
    """Add lines to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        for record in records:
            kind = type(record).__name__.lower()
            stream.write(json.dumps({"kind": kind, **asdict(record)}) + "\n")


def read(path: Path) -> Results:
    """Read the file. Raises UsageError when there is none, or a line is not a record."""
    results = Results()
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise UsageError(
            "nothing is measured yet", where=str(path), hint="leave --report out"
        ) from None
    for number, line in enumerate(lines, 1):
        try:
            _add(results, json.loads(line))
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                "not a result of this version", where=f"{path}:{number}", hint="measure again"
            ) from None
    return results


def next_round(path: Path) -> int:
    """A number that no round in the file has; 0 without a file."""
    if not path.exists():
        return 0
    results = read(path)
    rounds = [point.round for point in results.points]
    return 1 + max([*rounds, *(ceiling.round for ceiling in results.ceilings)], default=-1)


def _add(results: Results, found: dict[str, Any]) -> None:
    kind = found.pop("kind")
    if kind == "point":
        load, cost = Load(**found.pop("load")), Cost(**found.pop("cost"))
        results.points.append(Point(**found, load=load, cost=cost))
    elif kind == "ceiling":
        results.ceilings.append(Ceiling(**found))
    elif kind == "overload":
        before, during = Load(**found.pop("before")), Load(**found.pop("during"))
        results.overloads.append(Overload(**found, before=before, during=during))
    else:
        raise ValueError(kind)
