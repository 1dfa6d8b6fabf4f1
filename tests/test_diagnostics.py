"""stderr is written to, and never waited for."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.row(125)

# More than any pipe, socket or terminal holds while nobody reads.
LINES = 20_000

SAY = f"""
import sys
from inferctl.diagnostics import unblock_stderr
unblock_stderr()
for number in range({LINES}):
    print("line", number, "-" * 40, file=sys.stderr)
print("said", flush=True)
input()
for number in range({LINES}, {LINES} + 3):
    print("line", number, "-" * 40, file=sys.stderr)
"""


@pytest.fixture(params=["pipe", "socket", "terminal"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """What is read and what is written to, as a shell, a service manager or a person gives it."""
    if request.param == "pipe":
        reading, writing = os.pipe()
    elif request.param == "terminal":
        reading, writing = os.openpty()
    else:
        reading, writing = (end.detach() for end in socket.socketpair())
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read_all(fd: int) -> list[str]:
    """The lines that wait."""
    text = b""
    while True:
        try:
            text += os.read(fd, 65_536)
        except BlockingIOError:
            return text.decode().splitlines()


def test_a_reader_that_is_stuck_stops_nobody_and_hears_how_much_it_missed(
    ends: tuple[int, int],
) -> None:
    reading, writing = ends
    with subprocess.Popen(
        [sys.executable, "-c", SAY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=writing,
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"said\n"
        before = read_all(reading)
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(60) == 0
    said = [*before, *read_all(reading)]

    whole = [line for line in said if re.fullmatch(r"line \d+ -{40}", line)]
    notices = [line for line in said if line.endswith(" lines were lost here")]
    lost = sum(int(line.split()[1]) for line in notices)
    assert lost > LINES / 2
    # Before each notice one line may have been cut short, if only by its end.
    assert 0 <= len(whole) + lost - (LINES + 3) <= len(notices)
    assert len(said) - len(whole) - len(notices) <= len(notices)
    assert whole[-3:] == [f"line {number} {'-' * 40}" for number in range(LINES, LINES + 3)]


def test_a_terminal_that_others_have_too_still_waits_for_them() -> None:
    reading, writing = os.openpty()
    code = "from inferctl.diagnostics import unblock_stderr; unblock_stderr()"
    subprocess.run([sys.executable, "-c", code], stderr=writing, check=True)
    assert os.get_blocking(writing)
    os.close(reading)
    os.close(writing)


def test_a_file_is_appended_to_where_others_left_off(tmp_path: object) -> None:
    code = (
        "import sys; from inferctl.diagnostics import unblock_stderr\n"
        "sys.stderr.write('one\\n'); unblock_stderr(); print('two', file=sys.stderr)"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec 2>"$0/said"; echo zero >&2; "$1" -c "$2"; echo three >&2; cat "$0/said"',
         str(tmp_path), sys.executable, code],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["zero", "one", "two", "three"]


@pytest.mark.parametrize("closed", ["2>&-", "2>&- 2</dev/null", "2>/dev/full"])
def test_without_anybody_to_read_nothing_is_raised(closed: str) -> None:
    code = (
        "import sys; from inferctl.diagnostics import unblock_stderr\n"
        "unblock_stderr(); print('x', file=sys.stderr); sys.exit(7)"
    )
    command = f'exec "$0" -c "$1" {closed}'
    assert subprocess.run(["sh", "-c", command, sys.executable, code], check=False).returncode == 7
