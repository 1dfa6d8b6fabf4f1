"""Cores, memory, descriptors and disks: planted limits are named with what raises them."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from inferctl.doctor.findings import Finding
from inferctl.doctor.system import (
    core_findings,
    descriptor_findings,
    disk_findings,
    memory_findings,
)
from inferctl.observation import LogsSettings
from inferctl.settings import ServerSettings, Settings

GIB = 1024**3


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A process in a group `a`, on a machine with 8 GiB free."""
    write(tmp_path / "self" / "cgroup", "4:memory:/a\n2:cpu:/a\n0::/a\n")
    write(tmp_path / "self" / "statm", "1000 1 1 1 1 1 1\n")
    write(tmp_path / "meminfo", f"MemAvailable: {8 * GIB // 1024} kB\n")
    return tmp_path


V2 = {"a/cpu.max": "{quota} 100000", "a/memory.max": "{memory}"}
V1 = {
    "cpu/a/cpu.cfs_quota_us": "{quota}",
    "cpu/a/cpu.cfs_period_us": "100000",
    "memory/a/memory.limit_in_bytes": "{memory}",
}


def contain(proc: Path, files: dict[str, str], *, quota: int, memory: int) -> Path:
    for path, text in files.items():
        write(proc / "cgroups" / path, text.format(quota=quota, memory=memory))
    return proc / "cgroups"


@pytest.mark.parametrize("files", [V1, V2])
def test_the_container_s_quota_is_told(proc: Path, files: dict[str, str]) -> None:
    cgroups = contain(proc, files, quota=150_000, memory=GIB)
    (cores,) = core_findings(proc, cgroups)
    assert cores.status == "ok"
    assert cores.finding.startswith("1 are used")
    assert "quota is 1.5 cores" in cores.finding


@pytest.mark.parametrize("files", [V1, V2])
def test_less_than_a_core_is_too_little(proc: Path, files: dict[str, str]) -> None:
    (cores,) = core_findings(proc, contain(proc, files, quota=50_000, memory=GIB))
    assert cores.status == "warn"
    assert "--cpus" in cores.fix


@pytest.mark.parametrize("files", [V1, V2])
def test_a_container_with_little_memory_is_named(proc: Path, files: dict[str, str]) -> None:
    cgroups = contain(proc, files, quota=100_000, memory=GIB // 4)
    (memory,) = memory_findings(ServerSettings(), proc, cgroups)
    assert memory.status == "warn"
    assert "the container may have 0.2 GiB" in memory.finding


def test_a_limit_beyond_the_container_s_is_named(proc: Path) -> None:
    cgroups = contain(proc, V2, quota=100_000, memory=GIB)
    memory, limit = memory_findings(ServerSettings(memory_limit_bytes=2 * GIB), proc, cgroups)
    assert (memory.status, limit.status) == ("ok", "warn")
    assert "ended at 1.0 GiB" in limit.finding


def test_a_machine_with_little_memory_is_named(proc: Path) -> None:
    write(proc / "meminfo", f"MemAvailable: {GIB // 4 // 1024} kB\n")
    (memory,) = memory_findings(ServerSettings(), proc, proc)
    assert memory.status == "warn"
    assert memory.finding.startswith("0.2 GiB are left")


@pytest.mark.parametrize(
    ("hard", "status"), [(200, "warn"), (564, "ok"), (resource.RLIM_INFINITY, "ok")]
)
def test_a_low_limit_of_descriptors_is_named(
    monkeypatch: pytest.MonkeyPatch, hard: int, status: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, hard))
    (found,) = descriptor_findings(ServerSettings(max_connections=1000, workers=2))
    assert found.status == status
    if status == "warn":
        assert "server.max_connections = 1000" in found.finding
        assert found.fix.startswith("ulimit -n 564")


def disks(tmp_path: Path, log: str) -> dict[str, Finding]:
    own = Settings(models_dir=str(tmp_path / "models"), logs=LogsSettings(path=log))
    return {one.name: one for one in disk_findings(own)}


def test_folders_that_are_still_to_be_made_are_on_their_disk(tmp_path: Path) -> None:
    found = disks(tmp_path, str(tmp_path / "logs" / "requests.log"))
    assert {one.status for one in found.values()} <= {"ok", "warn"}
    assert str(tmp_path) in found["models disk"].finding
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_is_there_already_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "logs" / "requests.log", "{}")
    assert disks(tmp_path, "logs/requests.log")["request log"].status == "ok"


def test_a_log_on_stdout_needs_no_disk(tmp_path: Path) -> None:
    found = disks(tmp_path, "-")
    assert found["request log"].finding == "goes to stdout"
    assert "log disk" not in found
    assert "log disk" not in disks(tmp_path, "/dev/null")


@pytest.mark.parametrize("log", ["folder", "file/requests.log"])
def test_a_log_that_cannot_be_a_file_there_fails(tmp_path: Path, log: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    found = disks(tmp_path, str(tmp_path / log))["request log"]
    assert found.status == "fail"
    assert "logs.path" in found.fix


def test_a_log_that_may_not_be_written_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root, as whom tests may run, may write anywhere."""
    monkeypatch.setattr("os.access", lambda *_: False)
    found = disks(tmp_path, str(tmp_path / "requests.log"))["request log"]
    assert found.status == "fail"
    assert "may not be written" in found.finding


def test_a_disk_that_is_nearly_full_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=GIB // 2))
    found = disks(tmp_path, str(tmp_path / "requests.log"))
    assert found["models disk"].status == found["log disk"].status == "warn"
    assert found["log disk"].finding.startswith("0.5 GiB are free")
