"""Cores: the affinity, cut by the container's CPU quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inferctl.cores import available_cores


def contain(folder: Path, quota: str) -> None:
    """A container whose group has this quota."""
    (folder / "self").mkdir()
    (folder / "self" / "cgroup").write_text("0::/\n")
    (folder / "cpu.max").write_text(quota + "\n")


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000", 4),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("900000 100000", 4),
        ("not a quota at all", 4),
    ],
)
def test_the_quota_cuts_the_affinity(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 4, 6}, raising=False)
    contain(tmp_path, quota)
    assert available_cores(tmp_path, tmp_path) == cores


def test_without_a_quota_it_is_the_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert available_cores(tmp_path, tmp_path) == 3


def test_a_system_that_tells_nothing_has_one_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores(tmp_path, tmp_path) == 1
    contain(tmp_path, "300000 100000")
    assert available_cores(tmp_path, tmp_path) == 1
