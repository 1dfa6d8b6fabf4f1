"""A line of /proc, whatever the process calls itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.proc import (
    PAGE_BYTES,
    PROC,
    TICKS_PER_SECOND,
    Stat,
    read_cpu_s,
    read_stat,
    text_of,
)

# From the third field of proc(5) on: the 14th and 15th are CPU, the 22nd is when it started, the
# 24th is memory.
FIELDS = ["R", *"1" * 10, "300", "200", *"1" * 6, "9", "1", "7", *"1" * 20]


@pytest.mark.parametrize("name", ["python", "a b", "(x) S 1 2 3", ") ) )", "\n", "ä"])
def test_a_process_may_have_any_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "stat").write_text(f"42 ({name}) {' '.join(FIELDS)}\n")
    assert read_stat(tmp_path) == Stat("R", 500 / TICKS_PER_SECOND, 7 * PAGE_BYTES, 9)


def test_who_has_ended_has_none(tmp_path: Path) -> None:
    assert read_stat(tmp_path) is None


def test_a_thread_has_one_as_its_process_has() -> None:
    process = read_stat(PROC / "self")
    threads = [read_stat(task) for task in (PROC / "self" / "task").iterdir()]
    assert process
    assert process.cpu_s > 0
    assert process.resident_bytes > PAGE_BYTES
    assert "R" in {thread.state for thread in threads if thread}, "who asks runs"


def test_of_what_cannot_be_read_there_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("12\n")
    assert text_of(tmp_path / "own") == "12"
    assert text_of(tmp_path / "none") == text_of(tmp_path) == ""


def test_cpu_is_told_to_the_nanosecond_and_in_ticks_where_it_is_not(tmp_path: Path) -> None:
    for thread, ns in (("1", 1_500_000_001), ("2", 500_000_000)):
        (tmp_path / "task" / thread).mkdir(parents=True)
        (tmp_path / "task" / thread / "schedstat").write_text(f"{ns} 5 7\n")
    assert read_cpu_s(tmp_path) == pytest.approx(2.000000001, abs=1e-12)
    (tmp_path / "task" / "2" / "schedstat").unlink()
    assert read_cpu_s(tmp_path) is None
    (tmp_path / "stat").write_text(f"42 (x) {' '.join(FIELDS)}\n")
    assert read_cpu_s(tmp_path) == 500 / TICKS_PER_SECOND
