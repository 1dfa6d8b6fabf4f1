"""The request log's file when somebody else renames, removes and makes it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from inferctl.errors import StartError
from inferctl.server.log_file import LOOK_EVERY_S, LogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "requests.log"


def test_lines_go_to_a_new_file_once_the_old_one_was_renamed(path: Path) -> None:
    file = LogFile(str(path))
    file.follow(0.0)
    file.write(b"before\n")
    old = path.rename(path.with_suffix(".1"))
    file.follow(LOOK_EVERY_S - 0.001)
    file.write(b"not yet\n")
    file.follow(LOOK_EVERY_S)
    file.write(b"after\n")
    assert old.read_bytes() == b"before\nnot yet\n"
    assert path.read_bytes() == b"after\n"


def test_they_do_too_when_it_was_removed_and_its_folder(path: Path) -> None:
    file = LogFile(str(path))
    path.unlink()
    path.parent.rmdir()
    file.follow(0.0)
    file.write(b"after\n")
    assert path.read_bytes() == b"after\n"


def test_a_file_that_is_where_it_was_stays_open(path: Path) -> None:
    file = LogFile(str(path))
    before = file._fd
    for now_s in range(5):
        file.follow(now_s)
    assert file._fd == before


def test_who_says_so_need_not_wait(path: Path) -> None:
    file = LogFile(str(path))
    file.follow(0.0)
    path.rename(path.with_suffix(".1"))
    file.look_soon()
    file.follow(0.1)
    assert path.exists()


def test_a_line_that_was_cut_short_stays_alone_in_the_old_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = LogFile(str(path))
    write = os.write

    def fill(fd: int, data: bytes) -> int:
        if len(data) < 7:
            raise OSError
        return write(fd, data[:3])

    monkeypatch.setattr(os, "write", fill)
    assert file.write(b"1234567\n") == b"4567\n"
    monkeypatch.undo()
    path.rename(path.with_suffix(".1"))
    file.follow(0.0)
    file.write(b"after\n")
    assert path.read_bytes() == b"after\n"


def test_a_path_that_cannot_be_opened_again_is_told_of_once(path: Path) -> None:
    file = LogFile(str(path))
    path.unlink()
    path.mkdir()
    with capture_logs() as told:
        for number in range(3):
            file.follow(number * LOOK_EVERY_S)
    (event,) = told
    assert event["path"] == str(path)
    assert file.write(b"line\n") == b"", "the file that it was takes them"
    path.rmdir()
    file.follow(3 * LOOK_EVERY_S)
    file.write(b"after\n")
    assert path.read_bytes() == b"after\n"


def test_what_has_no_other_file_behind_it_is_not_looked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """stdout may be a file that was removed, and its name is not ours."""
    file = LogFile("/dev/null")
    monkeypatch.setattr(os, "stat", None)
    file.look_soon()
    file.follow(0.0)


def test_a_path_that_cannot_be_opened_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="Is a directory"):
        LogFile(str(tmp_path))


# Writes until somebody says that it is enough, and then how many lines that were.
WRITER = """
import select, sys, time
from inferctl.server.log_file import LogFile
file, number = LogFile(sys.argv[1]), 0
print(flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    if number % 10 == 0:
        file.look_soon()
    file.follow(time.monotonic())
    file.write(f"{sys.argv[2]}-{number} {'x' * 300}\\n".encode() * 3)
    number += 1
print(number)
"""
ROTATIONS = 20


@contextlib.contextmanager
def writer(path: Path, number: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(number)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_no_line_of_several_processes_is_lost_or_torn_while_their_file_is_rotated(
    path: Path,
) -> None:
    with writer(path, 0) as one, writer(path, 1) as other:
        for turn in range(ROTATIONS):
            give_up_s = time.monotonic() + 60
            while not path.exists():
                assert time.monotonic() < give_up_s
            path.rename(path.with_suffix(f".{turn}"))
        counts = [int(process.communicate("enough\n")[0]) for process in (one, other)]
    whole = [line for file in path.parent.iterdir() for line in file.read_text().splitlines()]
    assert {len(line.split()[1]) for line in whole} == {300}
    names = sorted(line.split()[0] for line in whole)
    written = [(w, n) for w, count in enumerate(counts) for n in range(count)]
    assert names == sorted(f"{w}-{n}" for w, n in written for _ in range(3))
    assert len(written) > ROTATIONS
