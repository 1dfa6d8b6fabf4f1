"""What people write becomes a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.bench.plan import (
    check_data,
    parse_duration,
    parse_processes,
    parse_size,
    split_duration,
)
from inferctl.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10.0), ("1m30s", 90.0), ("2h", 7200.0), ("1h1m1s", 3661.0), ("7", 7.0), ("2.5s", 2.5)],
)
def test_durations(text: str, seconds: float) -> None:
    """Hours, minutes and seconds, each at most once."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "ten", "10x", "-5s", "500ms", "1s2m"])
def test_what_is_no_duration(text: str) -> None:
    """Refused with an example of one."""
    with pytest.raises(UsageError, match="write 10s"):
        parse_duration(text)


def test_sizes_and_processes() -> None:
    """Width and height; a number, or none for as many as are needed."""
    assert parse_size("640x480") == (640, 480)
    assert (parse_processes("auto"), parse_processes("3")) == (None, 3)
    for bad in ("640", "0x480", "640x480x3", "axb"):
        with pytest.raises(UsageError, match="write 640x480"):
            parse_size(bad)
    for bad in ("0", "-1", "many", ""):
        with pytest.raises(UsageError, match="no number of processes"):
            parse_processes(bad)


def test_a_duration_is_split_into_windows_alike() -> None:
    """About as long as asked for, and three at least, for fewer cannot agree."""
    assert split_duration(30.0, 3.0) == (10, 3.0)
    assert split_duration(10.0, 3.0) == (3, 10 / 3)
    assert split_duration(0.3, 3.0) == (3, pytest.approx(0.1))


def test_data_that_is_not_there(tmp_path: Path) -> None:
    """Found before anything is started."""
    check_data(None)
    check_data(tmp_path)
    with pytest.raises(UsageError, match="no such folder"):
        check_data(tmp_path / "absent")
