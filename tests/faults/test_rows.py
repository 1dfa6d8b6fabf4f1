"""Every fault has a test, or a reason why it has none."""

from __future__ import annotations

import pytest

from tests.faults.rows import read_rows, tests_of_rows

ROWS = read_rows()


def test_no_test_is_marked_with_a_row_that_does_not_exist() -> None:
    assert set(tests_of_rows()) <= set(ROWS)


@pytest.mark.parametrize("number", ROWS)
def test_a_row_is_tested_or_says_why_not(number: int) -> None:
    assert number in tests_of_rows() or ROWS[number].why_not
