"""What the system lets a service have: a limit that is too low is named, with what is needed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from inferctl.errors import StartError
from inferctl.supervisor import limits
from inferctl.supervisor.limits import check_limits, check_tasks

pytestmark = pytest.mark.row(121)

TRY = """
import resource, sys
from inferctl.errors import StartError
from inferctl.supervisor.limits import check_limits, check_tasks
name, soft, hard = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(getattr(resource, name), (soft, hard))
try:
    check_limits()
except StartError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(
    ("name", "soft", "hard", "said"),
    [
        ("RLIMIT_NOFILE", 64, 64, "a process may have 64 files open, and needs 128"),
        ("RLIMIT_NOFILE", 64, 128, ""),  # it raises what it may raise
        ("RLIMIT_AS", 400 << 20, -1, "may have 400 MiB of address space, and needs 512 MiB"),
        ("RLIMIT_AS", 512 << 20, -1, ""),
        ("RLIMIT_AS", -1, -1, ""),
    ],
)
def test_a_limit_that_is_too_low_is_named(name: str, soft: int, hard: int, said: str) -> None:
    command = [sys.executable, "-c", TRY, name, str(soft), str(hard)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(said), done.stderr
    if said:
        (line,) = done.stderr.splitlines()
        assert said in line
        assert f"({name}); ulimit" in line


@pytest.mark.parametrize("there_are", [0, 5, 25, 26])
def test_threads_are_tried_and_too_few_are_counted(
    monkeypatch: pytest.MonkeyPatch, there_are: int
) -> None:
    monkeypatch.setattr(limits, "_startable", lambda wanted: min(wanted, there_are))
    if there_are == 26:
        check_tasks(2, 2)
        return
    with pytest.raises(StartError, match=f"only {there_are} more .* about 26 are needed") as caught:
        check_tasks(2, 2)
    assert caught.value.exit_code == 3
    assert "RLIMIT_NPROC" in caught.value.where


def test_more_than_an_exit_code_can_tell_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    monkeypatch.setattr(limits, "_startable", lambda wanted: tried.append(wanted) or wanted)
    check_tasks(256, 64)
    assert tried == [limits.MAX_TRIED]


def test_the_trial_leaves_no_thread_and_no_child() -> None:
    code = (
        "import os, threading; from inferctl.supervisor.limits import _startable\n"
        "print(_startable(20), threading.active_count(), len(os.listdir('/proc/self/task')))\n"
        "try: os.waitpid(-1, 0)\n"
        "except ChildProcessError: print('no child')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["20 1 1", "no child"]


def test_the_system_s_limit_is_what_is_found() -> None:
    """Three for a user who has one already; of root's nothing is counted."""
    code = (
        "import os, resource; from inferctl.supervisor.limits import _startable\n"
        "os.setuid(54_321)\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (3, 3))\n"
        "print(_startable(20))\n"
    )
    if os.getuid() != 0:
        pytest.skip("what else this user runs comes and goes")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 2


def test_this_very_process_has_enough() -> None:
    check_limits()
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= limits.NEEDED_DESCRIPTORS
