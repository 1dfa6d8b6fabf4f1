"""The name of a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from inferctl.naming import OWN_NAME, name_process


@pytest.mark.skipif(not OWN_NAME.exists(), reason="only Linux has /proc/self/comm")
@pytest.mark.parametrize("name", ["inferctl-engine", "inferctl-worker"])
def test_a_process_bears_the_whole_name(name: str) -> None:
    code = (
        f"import inferctl.naming as it; it.name_process({name!r}); print(it.OWN_NAME.read_text())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == f"{name}\n\n"


def test_where_processes_have_no_name_none_is_given(tmp_path: Path) -> None:
    name_process("inferctl-engine", tmp_path / "no-proc" / "comm")
