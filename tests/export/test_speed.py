"""Interleaved timing, with a clock that the runs themselves move."""

from __future__ import annotations

import pytest

from inferctl.export import ExportResult
from inferctl.export.speed import ROWS, Speed, interleaved, measure


class Clock:
    """Time that passes when a run says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, *seconds: float) -> None:
        self.order.append(name)
        self.now += seconds[(self.order.count(name) - 1) % len(seconds)]


def test_medians_are_in_milliseconds_and_forget_outliers() -> None:
    clock = Clock()
    runs = {
        "fp32": lambda: clock.run("fp32", 0.002, 0.002, 5.0, 0.002),
        "int8": lambda: clock.run("int8", 0.001),
    }
    found = interleaved(runs, clock)
    assert found == {"fp32": pytest.approx(2), "int8": pytest.approx(1)}


def test_rounds_alternate_and_turn() -> None:
    clock = Clock()
    runs = {name: lambda name=name: clock.run(name, 0.5) for name in ("a", "b")}
    interleaved(runs, clock)
    assert "".join(clock.order[2:8]) == "baabba"
    assert len(clock.order) == 2 + 2 * 7  # slow graphs get the fewest rounds


def test_fast_graphs_get_more_rounds() -> None:
    clock = Clock()
    interleaved({"a": lambda: clock.run("a", 1e-6)}, clock)
    assert len(clock.order) == 1 + 60


def test_a_gain_is_how_many_times_faster() -> None:
    speed = Speed(8, {"fp32": 9.0, "int8": 3.0})
    assert speed.gain("int8", "fp32") == 3.0
    assert speed.sentence() == "8 rows, one thread: fp32 9.000 ms, int8 3.000 ms: 3.00 x"


def test_graphs_are_timed_in_every_batch_size(published: dict[str, ExportResult]) -> None:
    result = published["text-classification"]
    graph = (result.path / "model.onnx").read_bytes()
    found = measure({"one": graph, "two": graph}, ("scores",), result.loaded)
    assert [speed.rows for speed in found] == list(ROWS)
    for speed in found:
        assert set(speed.median_ms) == {"one", "two"}
        assert all(value > 0 for value in speed.median_ms.values())
