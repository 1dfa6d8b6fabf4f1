"""A request log becomes times at which requests came in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inferctl.bench.replay import mean_rate_per_s, read_log, write_arrivals
from inferctl.errors import UsageError


def line(second: float, total_ms: float, model: str = "m", route: str = "predict") -> str:
    """A request that was answered then and took so long."""
    time = f"2026-01-02T03:04:{second:06.3f}Z"
    return json.dumps({"time": time, "route": route, "model": model, "total_ms": total_ms})


LINES = [
    line(2.0, 500.0), line(1.0, 100.0, "other"), line(2.1, 1100.0), line(3.0, 0.0, route="/models"),
    '{"time": "2026-01-02T03:04:05Z", "dropped_lines": 3}', line(5.0, 2000.0), '{"time": "2026',
]  # fmt: skip


def test_requests_come_in_before_they_are_answered(tmp_path: Path) -> None:
    """In the order in which they came; other routes, cut lines and other models are left out."""
    log = tmp_path / "requests.log"
    log.write_text("\n".join(LINES))
    times_s = read_log(log, "m")
    assert (times_s - times_s[0]).tolist() == pytest.approx([0.0, 0.5, 2.0])
    assert len(read_log(log)) == 4
    assert mean_rate_per_s(times_s) == pytest.approx(1.0)
    write_arrivals(times_s, 2.0, tmp_path / "twice as fast")
    assert np.fromfile(tmp_path / "twice as fast").tolist() == pytest.approx([0.0, 0.25, 1.0])
    write_arrivals(times_s, None, tmp_path / "as it was")
    assert np.fromfile(tmp_path / "as it was").tolist() == pytest.approx([0.0, 0.5, 2.0])


def test_logs_that_cannot_be_replayed(tmp_path: Path) -> None:
    """Absent, or with a single prediction for this model."""
    with pytest.raises(UsageError, match="cannot read the log: No such file"):
        read_log(tmp_path / "absent")
    (tmp_path / "log").write_text("\n".join(LINES))
    with pytest.raises(UsageError, match="no two predictions for other in this log"):
        read_log(tmp_path / "log", "other")
