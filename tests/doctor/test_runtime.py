"""Python, the wheels of onnxruntime, and what is optional."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from inferctl.doctor.findings import Finding
from inferctl.doctor.probing import CPU, CUDA, Probed
from inferctl.doctor.runtime import (
    OPTIONAL,
    extra_findings,
    installed,
    python_findings,
    runtime_findings,
    wheel_findings,
)

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
LINUX = ("linux", "x86_64")


def wheel(versions: dict[str, str], system: str = "linux", processor: str = "x86_64") -> Finding:
    (found,) = wheel_findings(versions, system, processor)
    return found


def test_this_installation_is_well() -> None:
    assert {one.status for one in (*python_findings(), *wheel_findings(installed()))} == {"ok"}


def test_a_python_that_is_too_old_is_named() -> None:
    version, platform = python_findings((3, 10, 2), *LINUX)
    assert (version.status, platform.status) == ("fail", "ok")
    assert "3.10.2 is too old" in version.finding
    assert "3.11" in version.fix


@pytest.mark.parametrize(("system", "processor"), [("darwin", "x86_64"), ("linux", "i686")])
def test_a_machine_without_wheels_is_named(system: str, processor: str) -> None:
    _, platform = python_findings((3, 12, 0), system, processor)
    assert platform.status == "fail"
    assert processor in platform.finding


def test_two_wheels_at_once_fail_and_are_both_taken_away() -> None:
    found = wheel({"onnxruntime": "1.32.0", "onnxruntime-gpu": "1.31.1"})
    assert found.status == "fail"
    assert "onnxruntime-gpu 1.31.1 and onnxruntime 1.32.0" in found.finding
    assert found.fix == (
        "pip uninstall -y onnxruntime-gpu onnxruntime && pip install onnxruntime-gpu"
    )


@pytest.mark.parametrize(
    ("processor", "wanted"), [("x86_64", "onnxruntime-gpu"), ("aarch64", "onnxruntime")]
)
def test_without_a_wheel_the_machine_s_own_is_advised(processor: str, wanted: str) -> None:
    found = wheel({}, "linux", processor)
    assert (found.status, found.fix) == ("fail", f"pip install {wanted}")


def test_a_wheel_that_is_too_old_is_named() -> None:
    assert wheel({"onnxruntime": "1.27.0"}).status == "fail"
    assert wheel({"onnxruntime": "1.28.0"}).status == "ok"


def test_a_runtime_that_cannot_be_imported_is_repaired() -> None:
    probed = Probed(ended="AttributeError: module 'onnxruntime' has no attribute '__version__'")
    (found,) = runtime_findings(probed, {"onnxruntime-gpu": "1.31.1"})
    assert found.status == "fail"
    assert "no attribute" in found.finding
    assert found.fix == "pip install --force-reinstall --no-deps onnxruntime-gpu==1.31.1"


def test_a_probe_that_was_killed_is_told_beside_what_it_said() -> None:
    probed = Probed(version="1.31.1", providers=(CPU,), ended="killed by SIGSEGV")
    found = {one.name: one for one in runtime_findings(probed, {})}
    assert found["build"].status == "ok"
    assert "SIGSEGV" in found["probe"].finding
    assert found["probe"].status == "fail"


@pytest.mark.parametrize(
    ("session", "usable"), [(None, "CPU"), ("", "CUDA, CPU"), ("it failed", "CPU")]
)
def test_what_is_available_is_not_always_usable(session: str | None, usable: str) -> None:
    probed = Probed(version="1.31.1", cuda="13.0", providers=(CUDA, CPU), session=session)
    found = {one.name: one.finding for one in runtime_findings(probed, {})}
    assert found["providers"] == f"available: CUDA, CPU; usable here: {usable}"
    assert "for CUDA 13.0" in found["build"]


def test_what_is_optional_says_what_it_is_for() -> None:
    versions = {OPTIONAL[0][0]: "2.13"}
    for one, (name, extra, purpose) in zip(extra_findings(versions), OPTIONAL, strict=True):
        assert one.status == "ok"
        assert purpose in one.finding
        assert (f"inferctl[{extra}]" in one.finding) == (name not in versions)


def test_each_extra_that_is_advised_brings_what_is_missing() -> None:
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    for name, extra, _ in OPTIONAL:
        assert [line for line in extras[extra] if line.startswith(name)], name
