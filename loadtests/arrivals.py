"""When the requests of an open loop are to be sent: seconds since the load began, without end.

The times are those of all processes of a generator together; each takes every so many-th of them.
They depend on a seed and nothing else, so that processes agree without a word.
"""

from __future__ import annotations

import itertools
import math
import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

# (seconds since the load began, share of the load then); linear between, constant after the last.
Shape = Sequence[tuple[float, float]]

STEADY: Shape = ((0.0, 1.0),)
# A piece of no length.
NEVER = (0.0, 0.0, 0.0, 0.0)


def read_shape(text: str) -> Shape:
    """Read `0:0,30:1`: a ramp of 30 s. Raises ValueError unless times ascend from 0."""
    points = [
        (float(time), float(share)) for time, share in (p.split(":") for p in text.split(","))
    ]
    times = [time for time, _ in points]
    if times[0] != 0 or any(b < a for a, b in itertools.pairwise(times)):
        raise ValueError("times ascend from 0")
    if min(share for _, share in points) < 0:
        raise ValueError("a share of the load is not negative")
    return points


def share_at(shape: Shape, time_s: float) -> float:
    """The share of the load that a shape has at a time."""
    for (begin, first), (end, last) in itertools.pairwise(shape):
        if begin <= time_s < end:
            return first + (last - first) * (time_s - begin) / (end - begin)
    return shape[-1][1]


def arrivals(
    kind: str, rate_per_s: float, shape: Shape = STEADY, seed: str = ""
) -> Iterator[float]:
    """The times of `constant` or `poisson` arrivals, or those that a file of float64 has."""
    if kind == "constant":
        return times(constant(), rate_per_s, shape)
    if kind == "poisson":
        return times(poisson(seed), rate_per_s, shape)
    return replayed(Path(kind))


def constant() -> Iterator[float]:
    """Gaps between requests, in requests of the mean rate: all alike."""
    return itertools.repeat(1.0)


def poisson(seed: str) -> Iterator[float]:
    """Exponential gaps of mean 1: arrivals of many clients that know nothing of each other."""
    draw = random.Random(seed).expovariate
    while True:
        yield draw(1.0)


def times(gaps: Iterable[float], rate_per_s: float, shape: Shape = STEADY) -> Iterator[float]:
    """The times at which the offered load has grown by each of `gaps`, in requests.

    The rate is `rate_per_s` times the share of `shape`. Ends where the load stays 0 for ever.
    """
    segments = _segments(shape, rate_per_s)
    begin_s, length_s, rate, slope = next(segments, NEVER)
    done = 0.0
    for gap in gaps:
        wanted = done + gap
        while (area := _area(length_s, rate, slope)) <= wanted:
            wanted -= area
            following = next(segments, None)
            if following is None:
                return
            begin_s, length_s, rate, slope = following
        done = wanted
        # The root of rate * t + slope / 2 * t² = wanted that is stable for a slope near 0.
        root = rate + math.sqrt(max(rate * rate + 2 * slope * wanted, 0.0))
        yield begin_s + (2 * wanted / root if root else 0.0)


def _segments(shape: Shape, rate_per_s: float) -> Iterator[tuple[float, float, float, float]]:
    """Begin, length, rate at the begin and its growth per second of each linear piece."""
    for (begin, first), (end, last) in itertools.pairwise(shape):
        if end > begin:
            yield (
                begin,
                end - begin,
                first * rate_per_s,
                (last - first) * rate_per_s / (end - begin),
            )
    begin, share = shape[-1]
    if share:
        yield begin, math.inf, share * rate_per_s, 0.0


def _area(length_s: float, rate: float, slope: float) -> float:
    return math.inf if math.isinf(length_s) else length_s * (rate + slope * length_s / 2)


def replayed(file: Path) -> Iterator[float]:
    """The ascending times of a file of native float64, again and again, one mean gap between."""
    recorded = array("d")
    with file.open("rb") as source:
        recorded.frombytes(source.read())
    span_s = recorded[-1] - recorded[0]
    mean_gap_s = span_s / max(len(recorded) - 1, 1)
    period_s = (span_s + mean_gap_s) or 1.0
    offset_s = -recorded[0]
    while True:
        for time_s in recorded:
            yield time_s + offset_s
        offset_s += period_s
