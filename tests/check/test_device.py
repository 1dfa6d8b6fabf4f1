"""A bundle on the device that is asked for, its answers beside the CPU's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from inferctl.check import CheckReport, CheckRequest, check_bundle
from inferctl.check import opened as module
from inferctl.engine.placement import CPU, CUDA, Placement
from inferctl.errors import StartError
from inferctl.settings import RuntimeSettings
from tests.cuda.machine import give

from ..graphs import image_fields, image_graph, write_bundle

# By these a session on the device is known here; it is the CPU.
PROVIDERS = ((CPU, {}),)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    fields = image_fields(
        task="tensor", labels=[], buckets={"rows": [1, 2, 4], "tokens": []}, image=None
    )
    write_bundle(tmp_path / "1", image_graph(), fields)
    return tmp_path / "1"


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A GPU whose answers are so much larger than the CPU's."""
    wrong = [0.0]

    class Session(onnxruntime.InferenceSession):
        def __init__(self, graph: str, options: object, providers: Sequence[Any], **more: Any):
            super().__init__(graph, options, providers=providers, **more)
            self.on_gpu = tuple(providers) == PROVIDERS

        def get_providers(self) -> list[str]:
            return [CUDA, CPU] if self.on_gpu else [CPU]

        def run(self, *arguments: Any) -> list[np.ndarray[Any, Any]]:
            return [array + self.on_gpu * wrong[0] for array in super().run(*arguments)]

    def place(runtime: RuntimeSettings) -> Placement:
        on_cuda = runtime.device != "cpu"
        return Placement("cuda:0", PROVIDERS) if on_cuda else Placement("cpu", (CPU,))

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(module, "place", place)
    return wrong


def check(bundle: Path, device: str) -> CheckReport:
    return check_bundle(CheckRequest(bundle, device=device))


def details(report: CheckReport) -> dict[str, str]:
    return {line.name: line.detail for line in report.lines}


def test_a_gpu_s_answers_are_held_to_the_cpu_s(bundle: Path, gpu: list[float]) -> None:
    stages: list[str] = []
    report = check_bundle(CheckRequest(bundle, device="auto"), stages.append)
    assert stages == ["open", "run", "cpu"]
    assert not report.failed
    assert report.document()["device"] == "cuda:0"
    assert details(report)["device"] == "it ran on cuda:0, but for Flatten"
    (line,) = (one for one in report.lines if one.name == "answers against the CPU")
    assert line.count == 4


def test_answers_that_are_the_gpu_s_alone_are_a_fault(bundle: Path, gpu: list[float]) -> None:
    gpu[0] = 0.5
    report = check(bundle, "auto")
    assert [line.name for line in report.failed] == ["answers against the CPU"]


def test_where_the_cpu_is_meant_there_is_nothing_to_compare(bundle: Path, gpu: list[float]) -> None:
    report = check(bundle, "cpu")
    assert report.document()["device"] == "cpu"
    assert not {"device", "answers against the CPU"} & details(report).keys()


@pytest.mark.row(113)
def test_without_a_gpu_cuda_is_refused_and_auto_says_what_is_missing(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, None)
    with pytest.raises(StartError, match=r"libcuda\.so\.1, the CUDA driver, is not found"):
        check(bundle, "cuda")
    report = check(bundle, "auto")
    assert not report.failed
    assert details(report)["device"].startswith(
        "it ran on the CPU: libcuda.so.1, the CUDA driver, is not found; apt install"
    )
