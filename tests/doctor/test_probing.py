"""What is kept of a probe that crashes, hangs or cannot begin."""

from __future__ import annotations

import sys

import pytest

from inferctl.doctor.probing import Driver, Probe, Probed

SAY = 'print(\'{"version": "1", "providers": ["A"], "driver": {"cuda": "13.0"}}\')'


def probed(code: str, timeout_s: float = 30) -> Probed:
    return Probe((sys.executable, "-c", code), timeout_s).result()


def test_what_it_says_is_kept() -> None:
    assert probed(SAY) == Probed(version="1", providers=("A",), driver=Driver(cuda="13.0"))


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("import os; os.abort()", "killed by SIGABRT"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("raise ImportError('libfoo.so: not found')", "ImportError: libfoo.so: not found"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
def test_a_crash_leaves_what_was_said_before_it(end: str, why: str) -> None:
    found = probed(f"import sys\n{SAY}\nsys.stdout.flush()\n{end}")
    assert found.version == "1"
    assert found.ended == why


def test_one_that_hangs_is_ended() -> None:
    found = probed("import threading; threading.Event().wait()", timeout_s=0.2)
    assert found == Probed(ended="it did not end within 0.2 s")
