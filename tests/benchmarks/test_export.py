"""What an export took is told beside its checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.command import REPOSITORY
from benchmarks.export import Taken, figures, measure, weights_bytes
from inferctl.errors import BenchError


def test_memory_is_told_in_checkpoints_over_torch(tmp_path: Path) -> None:
    checkpoint = tmp_path / "model.pt"
    checkpoint.write_bytes(b"\0" * 2_000_000)
    taken = [Taken(1.0, 7_000_000), Taken(3.0, 9_000_000), Taken(2.0, 8_000_000)]
    assert figures(checkpoint, taken, 5_000_000) == ["model.pt", "2.0", "2.0", "3.0", "9", "2.00"]


def test_of_a_directory_its_weights_count(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    assert weights_bytes(tmp_path) == 5


COMPARE = """
from benchmarks.command import REPOSITORY
from benchmarks.export import measure
small, large = (measure(["-c", code]) for code in ("pass", "held = b'x' * 200_000_000"))
raise SystemExit(not small.peak_bytes < 150e6 < 200e6 < large.peak_bytes < 300e6)
"""


def test_a_process_is_measured_by_what_it_holds() -> None:
    """From a process that holds little, as the benchmark's own: this one has imported torch."""
    subprocess.run([sys.executable, "-c", COMPARE], cwd=REPOSITORY, check=True)


def test_a_process_that_fails_is_no_measurement() -> None:
    with pytest.raises(BenchError, match="fails: no such model"):
        measure(["-c", "raise SystemExit('no such model')"])
