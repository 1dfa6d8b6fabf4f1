"""Records are read while they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inferctl.bench.records import Records


def test_records_of_several_processes_are_joined(tmp_path: Path) -> None:
    """Rows of four; no file gives no row; what came later is read later, and nothing twice."""
    records = Records(tmp_path)
    assert records.read().shape == (0, 4)
    np.arange(8.0).tofile(tmp_path / "requests-1.f64")
    np.arange(4.0).tofile(tmp_path / "requests-2.f64")
    assert records.read().tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
    with (tmp_path / "requests-2.f64").open("ab") as file:
        np.arange(6.0).tofile(file)
        file.flush()
        assert records.read()[3:].tolist() == [[0, 1, 2, 3]]
        np.arange(2.0).tofile(file)
    assert records.read()[4:].tolist() == [[4, 5, 0, 1]]
