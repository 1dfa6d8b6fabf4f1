"""CPU seconds and memory of real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from benchmarks.tree import ProcessTree, parse_stat

# Burns until its process has used the CPU seconds, says so, and waits to be told to end.
BURN = """
import sys, time
while time.process_time() < float(sys.argv[1]): pass
print("burnt", flush=True)
sys.stdin.read()
"""

# A parent whose child burns and ends, waited for, before the parent says so.
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {BURN!r}, sys.argv[1]], stdin=subprocess.DEVNULL)
sys.stdin.read()
"""

# A parent that leaves a child behind: when it ends, the child goes to init.
LEAVER = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {BURN!r}, sys.argv[1]])
sys.stdin.readline()
"""

BURN_S = 0.2
# Four counters are cut to ticks of 10 ms each.
AT_LEAST_S = BURN_S - 0.04


@contextmanager
def process(code: str) -> Iterator[tuple[ProcessTree, IO[bytes], IO[bytes]]]:
    """A Python process that burns; its tree, its stdin and its stdout."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(BURN_S)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        yield ProcessTree(child.pid), child.stdin, child.stdout


def test_a_process_costs_what_it_burnt() -> None:
    with process(BURN) as (tree, _, said):
        said.readline()

        assert AT_LEAST_S <= tree.cpu_s() < BURN_S + 1


def test_a_child_that_ended_is_counted() -> None:
    with process(PARENT) as (tree, _, said):
        said.readline()
        while len(tree.processes()) > 1:
            pass

        assert tree.cpu_s() >= AT_LEAST_S


def test_a_child_whose_parent_left_stays_in_the_tree() -> None:
    with process(LEAVER) as (tree, stdin, said):
        said.readline()
        before_s = tree.cpu_s()
        stdin.write(b"leave\n")
        stdin.flush()
        while sum(not one.ended for one in tree.processes()) > 1:
            pass

        assert before_s >= AT_LEAST_S
        assert tree.cpu_s() >= AT_LEAST_S
        tree.stop()


def test_another_process_is_not_in_the_tree() -> None:
    with process(BURN) as (tree, _, said):
        said.readline()

        assert os.getpid() not in [one.pid for one in tree.processes()]


def test_memory_is_that_of_all_processes() -> None:
    with process(BURN) as (alone, _, said), process(LEAVER) as (pair, _, pair_said):
        said.readline()
        pair_said.readline()

        assert pair.pss_mb() > alone.pss_mb() > 1
        pair.stop()


def test_what_ignores_sigterm_is_killed() -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + BURN
    with process(deaf) as (tree, _, said):
        said.readline()

        tree.stop(patience_s=0.0)

        assert all(one.ended for one in tree.processes())


def test_a_name_with_brackets_and_spaces_does_not_shift_the_fields() -> None:
    fields = "S 7 42 42 0 -1 0 0 0 0 0 11 5 3 1 20 0 1 0 999 0 0"

    found = parse_stat(f"42 (a (bad) name) {fields}")

    assert (found.pid, found.parent, found.state, found.started) == (42, 7, "S", 999)
    assert found.ticks == 11 + 5 + 3 + 1
