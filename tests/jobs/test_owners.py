"""Whether a process lives that has a job."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from inferctl.jobs.job import Owner
from inferctl.jobs.owners import boottime_s, is_gone, this_process
from inferctl.proc import PROC, read_stat

HERE = this_process()


def owner_of(pid: int) -> Owner:
    stat = read_stat(PROC / str(pid))
    assert stat
    return replace(HERE, pid=pid, born_ticks=stat.born_ticks)


def test_who_asks_lives() -> None:
    assert HERE.pid == os.getpid()
    assert not is_gone(HERE, HERE)


def test_one_that_was_killed_is_gone_before_its_parent_looked() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = owner_of(child.pid)
    assert not is_gone(owner, HERE)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(owner, HERE), "a zombie"
    child.communicate()
    assert is_gone(owner, HERE)


def test_another_process_may_have_its_number() -> None:
    assert is_gone(replace(HERE, born_ticks=HERE.born_ticks - 1), HERE)


def test_nothing_outlives_its_boot_and_of_other_machines_nothing_is_known() -> None:
    assert is_gone(replace(HERE, boot="earlier"), HERE)
    assert not is_gone(replace(HERE, node="elsewhere", boot="other", pid=1, born_ticks=0), HERE)


def test_where_there_is_no_proc_nothing_is_known() -> None:
    nowhere = Owner("node", "", 1, 0)
    assert not is_gone(nowhere, replace(HERE, node="node", boot=""))


def test_the_clock_of_leases_is_the_machines() -> None:
    printed = subprocess.check_output(
        [sys.executable, "-c", "from inferctl.jobs.owners import *; print(boottime_s())"]
    )
    assert 0 <= boottime_s() - float(printed) < 60


def test_process_ids_of_another_namespace_are_another_nodes() -> None:
    """A container may have its machine's name, where its neighbour has the same numbers."""
    ours = (PROC / "self" / "ns" / "pid").readlink()
    assert HERE.node.endswith(str(ours))
