"""`--fail-if 'p99>50ms'`: a figure of a load, a comparison, a value with its unit."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from inferctl.bench.gate.ruling import Case
from inferctl.bench.report.record import LoadRecord
from inferctl.bench.report.words import error_rate, mean_ms, percentile_ms
from inferctl.bench.slo import PERCENTILE
from inferctl.errors import UsageError

Figure = Callable[[LoadRecord], float | None]

TIMES = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}
RATES = {"/s": 1.0, "": 1.0}
SHARES = {"%": 0.01, "": 1.0}
SIZES = {
    "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
}  # fmt: skip
NUMBERS = {"": 1.0}
# Names that have their unit in them.
IN_MS = TIMES | {"": 1.0}

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
CONDITION = re.compile(r"\s*([a-z_][a-z0-9_.]*)\s*(>=|<=|>|<)\s*(\d+(?:\.\d+)?|\.\d+)\s*(\S*)\s*")


def _server(name: str) -> Figure:
    def of(load: LoadRecord) -> float | None:
        value = getattr(load.server, name)
        return None if value is None else float(value)

    return of


def _resident_bytes(load: LoadRecord) -> float | None:
    resident = load.server.resident_bytes_by_role
    return None if resident is None else float(sum(resident.values()))


def _percentile(percent: float) -> Figure:
    return lambda load: percentile_ms(load, percent)


FIGURES: dict[str, tuple[Figure, dict[str, float]]] = {
    "mean": (mean_ms, TIMES),
    "max": (_percentile(100), TIMES),
    "throughput": (lambda load: load.client.throughput_per_s, RATES),
    "error_rate": (error_rate, SHARES),
    "errors": (lambda load: load.client.failed, NUMBERS),
    "cpu_ms": (_server("cpu_ms_per_request"), IN_MS),
    "queue_ms": (_server("queue_mean_ms"), IN_MS),
    "decode_ms": (_server("decode_mean_ms"), IN_MS),
    "run_ms": (_server("run_mean_ms"), IN_MS),
    "batch_rows": (_server("mean_batch_rows"), NUMBERS),
    "rss": (_resident_bytes, SIZES),
}
KNOWN = ("p50", "p90", "p95", "p99", "p99.9", *FIGURES)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition under which a load fails; `text` is what the person wrote, without blanks."""

    text: str
    figure: Figure
    compare: Callable[[float, float], bool]
    limit: float
    unit: str
    factor: float

    def judge(self, load: LoadRecord) -> Case:
        """Whether the load is free of the condition; what is not known fails."""
        value = self.figure(load)
        if value is None:
            return Case("limit", self.text, False, f"not known at {load.label}")
        detail = f"{value / self.factor:,.5g}{self.unit} at {load.label}"
        return Case("limit", self.text, not self.compare(value, self.limit), detail)


def parse_threshold(text: str) -> Threshold:
    """Read a condition. Raises UsageError that says which part is wrong, and what would do."""
    found = CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no condition", where="--fail-if",
            hint="write p99>50ms, error_rate>0.1% or throughput<100/s",
        )  # fmt: skip
    name, sign, number, unit = found.groups()
    figure, units = _figure(name)
    if unit not in units:
        raise UsageError(
            f"{name} has the unit {unit!r}" if unit else f"{name} needs a unit",
            where=f"--fail-if {text}",
            hint=f"write one of {', '.join(one for one in units if one)}"
            if any(units)
            else "write a number alone",
        )
    limit = float(number) * units[unit]
    if units is SHARES and limit > 1:
        raise UsageError(
            f"{name} is never above 100%", where=f"--fail-if {text}", hint="write 0.1% or 0.001"
        )
    return Threshold(
        f"{name}{sign}{number}{unit}", figure, OPERATORS[sign], limit, unit, units[unit]
    )


def _figure(name: str) -> tuple[Figure, dict[str, float]]:
    if name in FIGURES:
        return FIGURES[name]
    percentile = re.fullmatch(PERCENTILE, name)
    if percentile and float(percentile[1]) > 0:
        return _percentile(float(percentile[1])), TIMES
    raise UsageError(
        f"no figure is called {name!r}", where="--fail-if", hint=f"known are {', '.join(KNOWN)}"
    )
