"""Every fault has a test, or a reason why it has none."""

from __future__ import annotations

import pytest

from tests.faults.rows import marked_tests, read_rows

ROWS, MARKED = read_rows(), marked_tests()


def test_no_test_is_marked_with_a_row_that_does_not_exist() -> None:
    assert set(MARKED) <= set(ROWS)


@pytest.mark.parametrize("number", ROWS)
def test_a_row_is_tested_or_says_why_not(number: int) -> None:
    assert number in MARKED or ROWS[number].why_not
