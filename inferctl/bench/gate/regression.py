"""Is one measurement slower than another, or is it noise?

What is compared are windows, not requests: requests of one moment share its queue, its batches and
its neighbours on the machine, so that ten thousand of them know little more than a few windows do.
And of windows only what the machine does not explain: on shared machines it is a tenth faster or
slower from one minute to the next, and the generator, whose work for a request is always the same,
shows by how much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

RESAMPLES = 4_000
# Beyond the end of an interval there must be so many, or it is not by them.
FEW_DRAWS = 4
# Of all figures of a load together: the chance that noise alone lifts an interval above zero.
FALSE_ALARM = 0.025
# By turns there are many windows: to be surer costs hardly anything there.
FALSE_ALARM_BY_TURNS = 0.01
MIN_WINDOWS = 5
# How sure it is beforehand of how far a figure follows the machine's speed: a standard deviation.
SPREAD_OF_SLOPE = 0.5
# Of windows that do not differ at all nothing is learnt: a thousandth, squared.
LEAST_NOISE = 1e-6


@dataclass(frozen=True, slots=True)
class Series:
    """A figure in the windows of a measurement, in order, and what the generator used in each.

    `effort` is its CPU per request, or ones where it is not known; both are above 0, [windows].
    """

    values: Values
    effort: Values


@dataclass(frozen=True, slots=True)
class Change:
    """How much worse a figure became, as a share of the old: 0.1 is a tenth slower.

    `worse` is without what the machine's speed explains, `low` and `high` bound it; `raw` is with
    it. `old` and `new` are as they were measured.
    """

    old: float
    new: float
    raw: float
    worse: float
    low: float
    high: float

    def exceeds(self, limit: float) -> bool:
        """Whether it is worse by more than `limit`, and not by chance."""
        return self.worse > limit and self.low > 0


def change_of(
    old: Series, new: Series, *, more_is_worse: bool, slope: float, paired: bool = False,
    tests: int = 1, seed: int = 0,
) -> Change:  # fmt: skip
    """Compare a figure of two measurements, each with two windows at least.

    The means of the logarithms are compared; the interval is of windows drawn again and again, in
    blocks of two neighbours, which are somewhat alike. `slope` is how far the figure is thought to
    follow the generator's CPU per request, 0 to 1; the windows correct it. `paired`: the n-th
    windows of both, which have as many, were taken by turns. `tests` is how many figures are
    compared, for each of which less is then left to chance.
    """
    sign = 1.0 if more_is_worse else -1.0
    sides = [(sign * np.log(one.values), np.log(one.effort)) for one in (old, new)]
    whole = [np.arange(len(values))[None] for values, _ in sides]
    weight = _weight(sides)
    random = np.random.default_rng(seed)
    drawn = [_blocks(len(values), random) for values, _ in sides]
    if paired:
        # What a moment did to one it did to the other too.
        drawn[1] = drawn[0]
    worse = float(_shift(sides, whole, slope, weight)[0])
    shifts = _shift(sides, drawn, slope, weight)
    freedom = len(old.values) - 2 if paired else len(old.values) + len(new.values) - 3
    t = _student((FALSE_ALARM_BY_TURNS if paired else FALSE_ALARM) / tests, freedom)
    low, high = _interval(shifts, worse, t, freedom)
    means = [float(values.mean()) for values, _ in sides]
    return Change(
        old=math.exp(sign * means[0]),
        new=math.exp(sign * means[1]),
        raw=math.expm1(means[1] - means[0]),
        worse=math.expm1(worse),
        low=math.expm1(low),
        high=math.expm1(high),
    )


def _shift(
    sides: list[tuple[Values, Values]], drawn: list[Places], slope: float, weight: float
) -> Values:
    """The difference of the means without what effort explains, for each draw: [draws].

    `drawn` are the windows of each side, [draws, windows]. The slope is that of the windows within
    each side, drawn towards `slope` with `weight`.
    """
    products = squares = np.zeros(len(drawn[0]))
    means = []
    for (values, effort), places in zip(sides, drawn, strict=True):
        y, x = values[places], effort[places]
        y_mean, x_mean = y.mean(1), x.mean(1)
        means.append((y_mean, x_mean))
        products = products + ((x - x_mean[:, None]) * (y - y_mean[:, None])).sum(1)
        squares = squares + ((x - x_mean[:, None]) ** 2).sum(1)
    # Where effort never changes there is nothing to explain.
    slopes = (products + weight * slope) / np.maximum(squares + weight, 1e-12)
    (y_old, x_old), (y_new, x_new) = means
    shift: Values = (y_new - y_old) - slopes * (x_new - x_old)
    return shift


def _weight(sides: list[tuple[Values, Values]]) -> float:
    """What is thought of the slope beforehand, in the currency of the windows' squares.

    The less of the figure is left unexplained by the windows' own slope, the less it weighs.
    """
    y, x = (
        np.concatenate([series - series.mean() for series in column])
        for column in zip(*sides, strict=True)
    )
    squares = float(x @ x)
    left = y - x * float(x @ y) / squares if squares else y
    return max(float(left.var()), LEAST_NOISE) / SPREAD_OF_SLOPE**2


def _blocks(windows: int, random: np.random.Generator) -> Places:
    """Windows drawn in blocks of two that follow one another, the first after the last."""
    starts = random.integers(0, windows, (RESAMPLES, (windows + 1) // 2))
    places = np.stack([starts, (starts + 1) % windows], axis=2).reshape(RESAMPLES, -1)
    return places[:, :windows]


def _interval(shifts: Values, worse: float, t: float, freedom: int) -> tuple[float, float]:
    """The bounds of `worse`, of which `shifts` were drawn; `t` is how far out Student's are.

    Drawing again from n windows gives too narrow an interval, by sqrt((n - 1) / n) and by the
    difference of Student's distribution to the normal one; after Hesterberg, "What Teachers Should
    Know About the Bootstrap" (2015), it is read further out in return. A few windows have hardly a
    draw that far out: then the bounds are Student's own, where those are wider.
    """
    narrow = math.sqrt((freedom + 1) / (freedom + 3))
    tail = NormalDist().cdf(-t / narrow)
    low, high = np.quantile(shifts, (tail, 1 - tail))
    reach = t * float(shifts.std()) / narrow if tail * RESAMPLES < FEW_DRAWS else 0.0
    return min(float(low), worse - reach), max(float(high), worse + reach)


def _student(chance: float, freedom: int) -> float:
    """What Student's t exceeds with a chance, by its expansion in the normal quantile."""
    z = NormalDist().inv_cdf(1 - chance)
    v = max(freedom, 2)
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
