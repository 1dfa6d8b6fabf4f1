"""The container's limits: the least of the groups around, of cgroups v1 and v2."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.container import container_cores, container_limit_bytes


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


LIMITS = {
    "0::/a/b": {"a/b/memory.max": "max", "a/memory.max": "3000", "memory.max": "5000"},
    "0::/host/path": {"memory.max": "3000"},
    "4:cpu,memory:/a": {"memory/a/memory.limit_in_bytes": "3000"},
    "4:memory:/a\n0::/": {
        "memory/memory.limit_in_bytes": "3000",
        "memory/a/memory.limit_in_bytes": "9223372036854771712",
    },
}


@pytest.mark.parametrize("groups", LIMITS)
def test_the_limit_is_the_least_of_the_groups_around(tmp_path: Path, groups: str) -> None:
    write(tmp_path / "self" / "cgroup", f"{groups}\n3:pids:/else\n")
    for path, limit in LIMITS[groups].items():
        write(tmp_path / "cgroups" / path, f"{limit}\n")
    assert container_limit_bytes(tmp_path, tmp_path / "cgroups") == 3000


def test_without_a_group_there_is_no_limit(tmp_path: Path) -> None:
    assert container_limit_bytes(tmp_path, tmp_path) == 0
    write(tmp_path / "self" / "cgroup", "0::/\n")
    assert container_limit_bytes(tmp_path, tmp_path) == 0


QUOTAS = {
    "0::/a/b": {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000", "cpu.max": "max"},
    "0::/host/path": {"cpu.max": "150000 100000"},
    "4:cpu,cpuacct:/a": {"cpu/a/cpu.cfs_quota_us": "75000", "cpu/a/cpu.cfs_period_us": "50000"},
    "4:cpu:/a\n0::/": {
        "cpu/cpu.cfs_quota_us": "150000",
        "cpu/cpu.cfs_period_us": "100000",
        "cpu/a/cpu.cfs_quota_us": "-1",
        "cpu/a/cpu.cfs_period_us": "100000",
    },
}


@pytest.mark.parametrize("groups", QUOTAS)
def test_the_quota_is_the_least_of_the_groups_around(tmp_path: Path, groups: str) -> None:
    write(tmp_path / "self" / "cgroup", f"{groups}\n3:cpuset:/else\n")
    for path, quota in QUOTAS[groups].items():
        write(tmp_path / "cgroups" / path, f"{quota}\n")
    assert container_cores(tmp_path, tmp_path / "cgroups") == 1.5


@pytest.mark.parametrize("quota", ["max 100000", "not a quota", "", "0 100000", "1 0", "-1 100000"])
def test_what_is_no_quota_is_none(tmp_path: Path, quota: str) -> None:
    assert container_cores(tmp_path, tmp_path) == 0
    write(tmp_path / "self" / "cgroup", "0::/\n")
    write(tmp_path / "cpu.max", quota)
    assert container_cores(tmp_path, tmp_path) == 0
