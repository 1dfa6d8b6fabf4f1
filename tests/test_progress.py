"""Whether a process wants a core, and what it used of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inferctl.progress import LONGEST_LOOK_S, Allowance, cpu_seconds, wants_cpu


@pytest.mark.parametrize("look", [cpu_seconds, wants_cpu])
def test_looking_again_interns_no_name_that_goes_at_once(
    monkeypatch: pytest.MonkeyPatch, look: Callable[[int], object]
) -> None:
    look(os.getpid())
    interned: list[str] = []
    monkeypatch.setattr(sys, "intern", lambda name: interned.append(name) or name)

    look(os.getpid())

    assert str(os.getpid()) not in interned


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Sleeps, until it reads a line; then it never rests."""
    program = "input()\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


def wait_until_it_wants(pid: int, wanted: bool) -> None:
    give_up_s = time.monotonic() + 20
    while wants_cpu(pid) != wanted:
        assert time.monotonic() < give_up_s


def test_a_process_that_sleeps_or_is_stopped_wants_no_core(child: subprocess.Popen[bytes]) -> None:
    wait_until_it_wants(child.pid, False)
    assert child.stdin
    child.stdin.write(b"\n")
    child.stdin.flush()
    wait_until_it_wants(child.pid, True)
    used_s = cpu_seconds(child.pid)
    while cpu_seconds(child.pid) < used_s + 0.05:
        assert wants_cpu(child.pid)
    os.kill(child.pid, signal.SIGSTOP)
    wait_until_it_wants(child.pid, False)


# In a process of its own, which has no other threads.
ASKING = """
import os, threading
from inferctl.progress import wants_cpu
print(wants_cpu(os.getpid()), wants_cpu(os.getpid(), but=threading.get_native_id()))
"""


def test_the_thread_that_asks_need_not_count() -> None:
    told = subprocess.run([sys.executable, "-c", ASKING], capture_output=True, check=True)
    assert told.stdout.split() == [b"True", b"False"]


def test_threads_that_end_meanwhile_do_not_speak_for_the_others(tmp_path: Path) -> None:
    tasks = tmp_path / "1" / "task"
    for number in range(20):
        (tasks / str(number)).mkdir(parents=True)
    *_, last = tasks.iterdir()
    (last / "stat").write_text("19 (name) R" + 49 * " 0")
    assert wants_cpu(1, proc=tmp_path)
    (last / "stat").write_text("19 (name) S" + 49 * " 0")
    assert not wants_cpu(1, proc=tmp_path)


def test_of_a_process_that_is_gone_nothing_is_known(tmp_path: Path) -> None:
    assert not wants_cpu(1, proc=tmp_path)
    assert cpu_seconds(1, proc=tmp_path) == 0.0


@pytest.mark.parametrize(
    ("cpu_s", "wants", "is_over"), [(0.4, True, False), (0.6, True, True), (0.0, False, True)]
)
def test_who_wants_a_core_and_has_none_has_not_had_its_time(
    cpu_s: float, wants: bool, is_over: bool
) -> None:
    allowance = Allowance()
    allowance.begin(7.0, 7.0, 3.0)
    looks = [
        allowance.is_over(1.0, 7.0 + look / 16, 3.0 + cpu_s, lambda: wants) for look in range(1, 17)
    ]
    assert looks == [*[False] * 15, is_over]


def test_what_passes_unseen_counts_little() -> None:
    allowance = Allowance()
    allowance.begin(0.0, 60.0, 0.0)
    assert not allowance.is_over(2 * LONGEST_LOOK_S, 60.0, 60.0, lambda: False)
    assert allowance.is_over(2 * LONGEST_LOOK_S, 120.0, 60.0, lambda: False)
