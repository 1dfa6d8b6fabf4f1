"""The limit of open files is what it may be."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from inferctl.supervisor.descriptors import raise_limit


def test_the_limit_is_raised_for_the_process_and_its_children() -> None:
    lines = (
        "import resource, subprocess, sys",
        "from inferctl.supervisor.descriptors import raise_limit",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))",
        "print(raise_limit())",
        "sys.stdout.flush()",
        "show = 'import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])'",
        "subprocess.run([sys.executable, '-c', show], check=True)",
    )
    code = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["200", "200"]


def test_a_limit_that_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    before, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_limit() == before
