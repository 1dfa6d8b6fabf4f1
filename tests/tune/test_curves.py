"""What runs cost, measured in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.bundles.manifest import GRAPH_FILE
from inferctl.errors import StartError
from inferctl.tune.curves import measured_curves
from inferctl.tune.late import Late


def test_a_run_of_each_size_is_timed_for_each_number_of_threads(bundle: Path) -> None:
    curves = measured_curves(bundle / "1", [1, 2], "cpu")

    assert list(curves) == [1, 2]
    assert list(curves[1]) == [1, 2, 4]
    assert all(0 < seconds < 1 for curve in curves.values() for seconds in curve.values())


def test_a_model_that_does_not_run_is_told_of_in_a_line(bundle: Path) -> None:
    (bundle / "1" / GRAPH_FILE).write_bytes(b"")

    with pytest.raises(StartError, match=r"the model does not run: .*model.onnx"):
        measured_curves(bundle / "1", [1], "cpu")


def test_a_model_that_takes_longer_than_there_is_time_is_late(bundle: Path) -> None:
    with pytest.raises(Late, match=r"did not warm up in 0\.05 s"):
        measured_curves(bundle / "1", [1], "cpu", 0.05)
