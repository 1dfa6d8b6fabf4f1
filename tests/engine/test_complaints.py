"""Why rows failed, as the log says it."""

from __future__ import annotations

import pytest

from inferctl.engine.complaints import MAX_CHARS, TELL_EVERY_S, Complaints
from inferctl.engine.session import RunFailed


def test_the_first_is_told_at_once_and_later_ones_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now_s = 5.0
    complaints = Complaints("shapes", lambda: now_s)
    complaints.hear(1, RunFailed("index 7"))
    assert capsys.readouterr().err == "inferctl: shapes: 1 row failed, the last one: index 7\n"
    for _ in range(1000):
        complaints.hear(2, RunFailed("index 8"))
    assert capsys.readouterr().err == ""
    now_s += TELL_EVERY_S
    complaints.hear(1, RunFailed("index 9"))
    assert capsys.readouterr().err == "inferctl: shapes: 2001 rows failed, the last one: index 9\n"


def test_a_reason_is_one_line_of_text_and_no_long_one(capsys: pytest.CaptureFixture[str]) -> None:
    Complaints("shapes").hear(1, RunFailed("red \x1b[31m\r" + "x" * 1000))
    said = capsys.readouterr().err
    assert said.startswith("inferctl: shapes: 1 row failed, the last one: red  [31m xxx")
    assert len(said.partition("last one: ")[2].rstrip()) == MAX_CHARS
