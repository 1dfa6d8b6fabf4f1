"""The tests, and every process that they start, stay on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.outbound.sitecustomize import VARIABLE, is_here

# For documentation: nobody has it.
ELSEWHERE = "192.0.2.1"


@pytest.mark.row(169)
def test_an_attempt_is_noted_and_fails(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    code = f"import socket; socket.create_connection(('{ELSEWHERE}', 80), timeout=5)"
    command = [sys.executable, "-c", code]
    environment = os.environ | {VARIABLE: str(noted)}

    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert "PermissionError: tests stay on this machine" in ended.stderr
    assert noted.read_text() == f"('{ELSEWHERE}', 80) by -c\n"


@pytest.mark.row(169)
def test_every_process_of_a_service_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the hook would raise is raised in this process too."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "noted"))
    with socket.socket() as leaving, pytest.raises(PermissionError, match="stay on this machine"):
        leaving.connect((ELSEWHERE, 80))


@pytest.mark.parametrize(
    "address", ["/run/x", b"\0x", ("127.0.0.1", 1), ("::1", 1, 0, 0), ("localhost", 1)]
)
def test_this_machine_is_here(address: object) -> None:
    assert is_here(address)


@pytest.mark.parametrize("address", [(ELSEWHERE, 1), ("example.org", 1), ("10.0.0.1", 1), ("", 1)])
def test_others_are_not(address: object) -> None:
    assert not is_here(address)
