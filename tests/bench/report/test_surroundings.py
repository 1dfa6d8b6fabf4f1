"""The machine, the commit and the server's own word; what is not told stays unknown."""

from __future__ import annotations

import subprocess
from pathlib import Path

from inferctl.bench.exposition import read_metrics
from inferctl.bench.report.surroundings import (
    commit_of,
    locust_version,
    read_service,
    service_of,
    this_machine,
)
from inferctl.bench.target import find_target
from tests.bench.conftest import Running

COUNTED = """
inferctl_model_info{model="m",version="1",task="tensor",precision="fp32",device="cpu"} 1
inferctl_model_info{model="other",version="1",task="tensor",precision="int8",device="cuda"} 1
inferctl_build_info{version="0.1.0",onnxruntime="1.32.0"} 1
inferctl_instances{model="m",version="1"} 2
inferctl_max_batch_rows{model="m",version="1"} 32
inferctl_slots{model="m",version="1"} 64
"""


def git(folder: Path, *arguments: str) -> None:
    own = ("-c", "user.name=n", "-c", "user.email=e@x")
    subprocess.run(["git", "-C", str(folder), *own, *arguments], check=True, capture_output=True)


def test_a_commit_says_whether_there_are_changes(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
    git(tmp_path, "init")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    clean = commit_of(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "file").write_text("two")
    assert commit_of(tmp_path) == f"{clean}+changes"


def test_the_machine_is_that_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A CPU\n")
    (tmp_path / "meminfo").write_text("MemTotal:       1024 kB\n")
    machine = this_machine(tmp_path)
    assert (machine.cpu, machine.memory_bytes) == ("A CPU", 2**20)
    empty = this_machine(tmp_path / "none")
    assert (empty.cpu, empty.memory_bytes) == (None, None)
    assert locust_version()


def test_the_server_says_how_it_is_configured() -> None:
    said = {"workers": 2, "device": {"name": "L4"}, "warnings": ["open to all"]}
    service = service_of(said, read_metrics(COUNTED), "m")
    assert (service.inferctl_version, service.onnxruntime_version) == ("0.1.0", "1.32.0")
    assert (service.precision, service.device, service.device_name) == ("fp32", "cpu", "L4")
    assert (service.workers, service.instances) == (2, 2)
    assert (service.max_batch_rows, service.slots) == (32, 64)
    assert service.warnings == ["open to all"]


def test_what_it_does_not_say_or_says_oddly_is_unknown() -> None:
    service = service_of({"workers": "many", "device": None, "warnings": None}, {}, "m")
    assert service.workers is service.device_name is service.slots is service.precision is None
    assert service.warnings == []


def test_a_server_that_is_asked_and_has_neither(server: Running) -> None:
    """This one has metrics of requests alone, and no health."""
    service = read_service(find_target(server.url, "mood"))
    assert service.workers is service.inferctl_version is None
