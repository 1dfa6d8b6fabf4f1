"""Which measurements the gate's benchmark compares, and how it counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.gate import ROUND, SLOWER, by_turn, one_after_the_other, rate
from inferctl.bench.report.record import Report
from tests.bench.made import noisy, report


def rounds(count: int) -> list[tuple[str, Report]]:
    """Each round's machine drifts; the slower one is a third slower."""
    found = []
    for number in range(count):
        for place, role in enumerate(ROUND):
            seed = 3 * number + place
            slower = 1.33 if role == SLOWER else 1.0
            made = report(noisy(seed, slower=slower))
            found.append((role, replace(made, session=str(number))))
    return found


def test_of_a_round_the_quicker_is_compared_with_itself_and_with_the_slower() -> None:
    found = rounds(2)
    loads = [made.loads[0] for _, made in found]
    same, other = by_turn(found)
    assert same == [(loads[0], loads[1]), (loads[1], loads[0]), (loads[3], loads[4]),
                    (loads[4], loads[3])]  # fmt: skip
    assert other == [(loads[0], loads[2]), (loads[1], loads[2]), (loads[3], loads[5]),
                     (loads[4], loads[5])]  # fmt: skip


def test_of_two_rounds_the_later_is_compared_with_the_earlier() -> None:
    found = rounds(2)
    loads = [made.loads[0] for _, made in found]
    same, other = one_after_the_other(found)
    assert same == [(loads[0], loads[3]), (loads[1], loads[4])]
    assert other == [(loads[0], loads[5]), (loads[1], loads[5])]


def test_what_is_slower_is_counted() -> None:
    same, other = by_turn(rounds(4))
    alike = rate(same, 10, slope=1.0, paired=False)
    slow = rate(other, 10, slope=1.0, paired=False)
    assert (alike.comparisons, alike.flagged) in ((8, 0), (8, 1))
    assert (slow.comparisons, slow.flagged) == (8, 8)
    assert np.isclose(slow.mean_change, 0.33, atol=0.05)
