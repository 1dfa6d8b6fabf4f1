"""How long jobs are let be, and when everybody has come back to a store that failed."""

from __future__ import annotations

import pytest

from inferctl.jobs.pauses import pause_s, return_s


def test_pauses_grow_up_to_the_longest() -> None:
    assert [pause_s(attempts, 60) for attempts in range(1, 6)] == [1, 4, 16, 60, 60]


@pytest.mark.parametrize(("lease_s", "expected_s"), [(30, 15), (15, 10), (6, 4)])
def test_who_lives_comes_back_before_his_lease_would_end_twice(
    lease_s: float, expected_s: float
) -> None:
    assert return_s(lease_s) == expected_s
