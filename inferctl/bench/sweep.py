"""Several loads one after the other: the latency-throughput curve, and its knee."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.windows import BUSY_CORES
from inferctl.errors import BenchError, UsageError

Kind = Literal["users", "rate"]

# Loads whose power is this close to the highest are as good.
AS_GOOD = 0.05
MOST_POINTS = 64
MOST = 1e6

_RANGE = re.compile(r"(users|rate)=(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)(?::(\d+(?:\.\d+)?))?")
_LIST = re.compile(r"(users|rate)=(\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)*)")


def knee_of(measured: Sequence[Measurement]) -> Measurement | None:
    """The load of the highest power: before it load buys throughput, beyond it latency.

    In a closed loop it is where the two straight lines of the curve meet: the users that just keep
    the server busy. Of loads with nearly the same power it is the one with the highest throughput.
    Those at which the generator had its core full say nothing of the server, and a single one has
    no bend.
    """
    powers = [(_power(one), one) for one in measured if not _is_generator_full(one)]
    seen = [(power, one) for power, one in powers if power]
    if len(seen) < 2:
        return None
    most = max(power for power, _ in seen)
    near = [one for power, one in seen if power >= (1 - AS_GOOD) * most]
    return max(near, key=lambda one: one.achieved_per_s)


def parse_sweep(text: str) -> tuple[Load, ...]:
    """Read `users=1..128` (doubling), `rate=100..2000:100` (in steps) or `users=1,3,9`.

    Raises UsageError.
    """
    kind, values = _values(text)
    if not values or len(values) > MOST_POINTS or min(values) <= 0 or max(values) > MOST:
        raise _unreadable(text)
    if kind == "rate":
        return tuple(Load(rate_per_s=value) for value in values)
    if any(value != int(value) for value in values):
        raise _unreadable(text)
    return tuple(Load(users=int(value)) for value in values)


def attempted(load: Load, measure: Callable[[Load], Measurement]) -> Measurement:
    """Measure one of several loads. One that fails says why, and the others are not lost."""
    try:
        return measure(load)
    except BenchError as error:
        return Measurement(load, (), stable=False, client_limited=None, failure=str(error))


def sweep(loads: Sequence[Load], measure: Callable[[Load], Measurement]) -> list[Measurement]:
    """Measure one load after the other: the curve, with those that failed in their places.

    A KeyboardInterrupt leaves those measured until then.
    """
    found: list[Measurement] = []
    for load in loads:
        try:
            measured = attempted(load, measure)
        except KeyboardInterrupt:
            break
        if measured.windows or measured.failure:
            found.append(measured)
        if measured.interrupted:
            break
    return found


def _is_generator_full(measurement: Measurement) -> bool:
    """Whether the generator could not have sent more."""
    return (measurement.generator_cpu_cores or 0.0) > BUSY_CORES


def _power(measurement: Measurement) -> float:
    """Kleinrock's: answers per second, over their mean latency in seconds."""
    client = measurement.client
    if client.latency is None:
        return 0.0
    return 1000 * client.throughput_per_s / client.latency.mean_ms


def _values(text: str) -> tuple[str, list[float]]:
    if match := _LIST.fullmatch(text):
        return match[1], [float(value) for value in match[2].split(",")]
    match = _RANGE.fullmatch(text)
    if match is None:
        raise _unreadable(text)
    first, last = float(match[2]), float(match[3])
    step = float(match[4]) if match[4] else None
    if first <= 0 or step == 0:
        raise _unreadable(text)
    values = [first]
    while len(values) <= MOST_POINTS:
        following = values[-1] * 2 if step is None else first + len(values) * step
        if following > last * (1 + 1e-9):
            break
        values.append(following)
    # The end that was named is measured, also where doubling leaps over it.
    if step is None and values[-1] < last:
        values.append(last)
    return match[1], values if first <= last else []


def _unreadable(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is no sweep", where="--sweep",
        hint=f"write users=1..128, rate=100..2000:100 or users=1,4,16; {MOST_POINTS} loads at most",
    )  # fmt: skip
