"""A child that ends with its parent, whatever it does."""

from __future__ import annotations

import os
import select
import signal
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
# So does the supervisor. Its worker says a last word, and hangs with Python's lock in hand.
SUPERVISOR = """
import ctypes, os, sys
from inferctl.settings import ServerSettings
from inferctl.supervisor.fork import fork
from inferctl.supervisor.worker import Nursery

(born, bearing), (dead, living) = os.pipe(), os.pipe()

class Blocked:
    def serve(self, spec, control):
        os.write(bearing, b".")
        os.read(dead, 1)
        print("last word", file=sys.stderr, flush=True)
        while True:
            ctypes.PyDLL(None).sleep(60)

nursery = Nursery(ServerSettings())
nursery._prototype = Blocked()
pid = fork(lambda: nursery.work(lambda: None, None), (bearing, dead))
os.read(born, 1)
print(pid, flush=True)
input()
"""


def last_words(*program: str) -> str:
    """Of a parent that is killed, and of its child, which must end too."""
    parent = subprocess.Popen(
        [sys.executable, "-c", *program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    poll = select.poll()  # other tests may have left more descriptors than `select` knows
    poll.register(child, select.POLLIN)
    ended = poll.poll(10_000)
    if not ended:
        signal.pidfd_send_signal(child, signal.SIGKILL)
    os.close(child)
    _, errors = parent.communicate()
    assert ended
    return errors


@pytest.mark.row(95)
def test_a_child_that_hangs_ends_with_its_parent() -> None:
    assert last_words(PARENT, CHILD) == ""


@pytest.mark.row(95)
def test_a_worker_that_hangs_ends_soon_after_its_supervisor_and_not_before_its_last_word() -> None:
    assert last_words(SUPERVISOR) == "last word\n"
