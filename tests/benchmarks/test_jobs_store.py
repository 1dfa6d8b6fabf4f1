"""The benchmark of the job store."""

from __future__ import annotations

from pathlib import Path

from benchmarks.jobs_store import PARTS, Shape, done, sheet_of
from inferctl.jobs.sqlite.preparation import prepare_store

SHAPE = Shape(input_bytes=500, result_bytes=2000, group=20, per_day=1_000_000, keep_h=0.002)


def test_what_expires_makes_room_and_polls_are_timed(tmp_path: Path) -> None:
    prepare_store(tmp_path, strict=True)
    parts = list(done(tmp_path, 2000, SHAPE))
    assert len(parts) == PARTS
    assert all(part.jobs_per_s > 0 and part.log_bytes > 0 for part in parts)
    assert all(0 < part.poll_p50_ms <= part.poll_p99_ms for part in parts)
    # Of 2,000 jobs, 83 are kept.
    assert parts[-1].live_bytes < 2 * 83 * 2500

    rows = sheet_of(parts, 2000).rows
    assert [row[0] for row in rows][:2] == ["200", "400"]
