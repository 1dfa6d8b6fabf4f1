"""A child that ends with its parent, whatever it does."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest

# The parent starts a child that hangs, says its pid, and is killed.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
input()
"""
CHILD = """
import os, signal
from inferctl.orphans import end_with_parent
end_with_parent()
print(flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@pytest.mark.row(95)
def test_a_child_that_hangs_ends_with_its_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    poll = select.poll()  # other tests may have left more descriptors than `select` knows
    poll.register(child, select.POLLIN)
    ended = poll.poll(10_000)
    os.close(child)
    assert ended
