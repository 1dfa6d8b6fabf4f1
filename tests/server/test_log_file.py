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


WRITER = """
import sys, time
from inferctl.server.log_file import LogFile
file = LogFile(sys.argv[1])
print(flush=True)
sys.stdin.readline()
for number in range(1000):
    if number % 100 == 0:
        file.look_soon()
    file.follow(time.monotonic())
    file.write(f"{sys.argv[2]}-{number} {'x' * 300}\\n".encode() * 3)
"""


@contextlib.contextmanager
def writers(path: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(count)
    ]  # fmt: skip
    try:
        yield started
    finally:
        for writer in started:
            writer.communicate()


def test_no_line_of_several_processes_is_lost_or_torn_while_their_file_is_rotated(
    path: Path,
) -> None:
    with writers(path, 2) as started:
        for writer in started:
            assert writer.stdout is not None
            writer.stdout.readline()
        for writer in started:
            assert writer.stdin is not None
            writer.stdin.write("\n")
            writer.stdin.flush()
        for turn in range(20):
            give_up_s = time.monotonic() + 10
            while not path.exists() and time.monotonic() < give_up_s:
                if all(writer.poll() is not None for writer in started):
                    break
            if path.exists():
                path.rename(path.with_suffix(f".{turn}"))
    files = [*path.parent.iterdir()]
    assert len(files) > 2
    whole = [line for file in files for line in file.read_text().splitlines()]
    assert {len(line.split()[1]) for line in whole} == {300}
    names = sorted(line.split()[0] for line in whole)
    assert names == sorted(f"{w}-{n}" for w in range(2) for n in range(1000) for _ in range(3))
