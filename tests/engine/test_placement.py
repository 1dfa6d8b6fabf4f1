"""Where a model goes, and what is said of what keeps it from a GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnxruntime
import pytest

from inferctl.cuda.lack import Lack
from inferctl.cuda.libraries import NO_PROVIDER
from inferctl.cuda.tf32 import OVERRIDE
from inferctl.engine import placement as module
from inferctl.engine.placement import (
    CPU,
    CUDA,
    NO_NODE,
    NO_TENSORRT,
    NO_TENSORRT_NODE,
    NOT_STARTED,
    TENSORRT_NOT_STARTED,
    CudaUse,
    Placement,
    apart,
    place,
)
from inferctl.engine.tensorrt import TENSORRT, TensorRt
from inferctl.errors import StartError
from inferctl.settings import RuntimeSettings
from tests.cuda.machine import CUDA_13, NO_DEVICE, FakeDriver, give

AUTO, ON_CPU = RuntimeSettings(), RuntimeSettings(device="cpu")
STRICT = RuntimeSettings(device="cuda")
ON_CUDA = Placement("cuda:0", ((CUDA, {}), CPU))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    """A machine with a GPU and all that CUDA takes; one that is changed has another."""
    driver = FakeDriver()
    give(monkeypatch, driver)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "cuda_version", "13.0", raising=False)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: sys.stdout.write("Failed to load"))
    monkeypatch.setattr(module, "missing_libraries", lambda provider, cuda: [])
    return driver


def test_where_there_is_a_gpu_auto_takes_the_first(driver: FakeDriver) -> None:
    placement = place(AUTO)
    (cuda, options), cpu = placement.providers
    assert (placement.device, placement.lack, cuda, cpu) == ("cuda:0", None, CUDA, CPU)
    assert options["device_id"] == "0"
    assert "gpu_mem_limit" not in options
    assert placement.uuid.startswith("GPU-")


def test_a_device_s_number_and_its_memory_limit_are_the_provider_s(driver: FakeDriver) -> None:
    driver.devices = 3
    placement = place(RuntimeSettings(device="cuda:2", memory_limit_bytes=1000))
    assert placement.device == "cuda:2"
    options = placement.providers[0][1]
    assert (options["device_id"], options["gpu_mem_limit"]) == ("2", "1000")
    assert placement.uuid.endswith("02")


@pytest.mark.parametrize(
    ("tf32", "option", "done"), [(False, "0", [(OVERRIDE, "0"), "loaded"]), (True, "1", ["loaded"])]
)
def test_fp32_is_multiplied_as_such_unless_it_need_not_be(
    tf32: bool, option: str, done: list[Any], driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The libraries read their environment when they are loaded."""
    found: list[Any] = []
    monkeypatch.setattr(os, "putenv", lambda *variable: found.append(variable))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: found.append("loaded"))
    placement = place(RuntimeSettings(tf32=tf32))
    assert (placement.providers[0][1]["use_tf32"], found) == (option, done)


def test_where_the_cpu_is_meant_no_driver_is_asked(driver: FakeDriver) -> None:
    assert place(ON_CPU) == Placement("cpu", (CPU,))
    assert not driver.asked


def lacking(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Take something from the machine; what is said of it, and of what to do."""
    match name:
        case "driver":
            give(monkeypatch, None)
            return "libcuda.so.1, the CUDA driver, is not found", "apt install nvidia-driver"
        case "device":
            give(monkeypatch, FakeDriver(error=NO_DEVICE))
            return "no CUDA-capable device is detected", "CUDA_VISIBLE_DEVICES"
        case "new driver":
            give(monkeypatch, FakeDriver(version=CUDA_13 - 1000))
            return "the driver runs CUDA 12.0 at most", "for CUDA 13"
        case "build":
            monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
            return NO_PROVIDER.what, "onnxruntime-gpu[cuda,cudnn]"
        case _:
            monkeypatch.setattr(module, "missing_libraries", lambda *_: ["libcudnn.so.9"])
            return "libcudnn.so.9 is not found", "nvidia-cudnn-cu13"


LACKS = pytest.mark.parametrize("what", ["driver", "device", "new driver", "build", "library"])


@LACKS
def test_what_is_missing_for_cuda_is_one_line_with_the_package_that_has_it(
    what: str,
    driver: FakeDriver,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    said, fix = lacking(what, monkeypatch)
    with pytest.raises(StartError) as caught:
        place(STRICT)
    line = str(caught.value)
    assert caught.value.exit_code == 3
    assert said in line
    assert fix in line
    assert "(runtime.device = cuda)" in line
    assert line.endswith("; or use --device auto")
    assert "\n" not in line
    assert capfd.readouterr() == ("", ""), "nothing else is printed"


@LACKS
def test_auto_goes_to_the_cpu_and_knows_why(
    what: str, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, fix = lacking(what, monkeypatch)
    placement = place(AUTO)
    assert (placement.device, placement.providers) == ("cpu", (CPU,))
    assert placement.lack is not None
    assert said in placement.lack.what
    assert fix in placement.lack.fix


def test_a_number_beyond_the_devices_is_refused(driver: FakeDriver) -> None:
    with pytest.raises(StartError, match=r"there is no device 1: the driver shows 1, .* = cuda:1"):
        place(RuntimeSettings(device="cuda:1"))


def test_several_devices_are_each_as_if_it_were_alone(driver: FakeDriver) -> None:
    driver.devices = 3
    for device, each in (
        ("cuda:2,0", ["cuda:2", "cuda:0"]), ("cuda:all", ["cuda:0", "cuda:1", "cuda:2"]),
    ):  # fmt: skip
        runtime = RuntimeSettings(device=device, memory_limit_bytes=1000)
        assert apart(runtime) == [
            RuntimeSettings(device=one, memory_limit_bytes=1000) for one in each
        ]
    for runtime in (AUTO, ON_CPU, STRICT, RuntimeSettings(device="cuda:5")):
        assert apart(runtime) == [runtime]


def test_each_device_that_is_named_must_be_there_unless_it_may_be_lost(driver: FakeDriver) -> None:
    driver.devices = 2
    runtime = RuntimeSettings(device="cuda:0,2")
    with pytest.raises(
        StartError, match=r"there is no device 2: .* \(runtime\.device = cuda:0,2\)"
    ):
        apart(runtime)
    assert [one.device for one in apart(runtime, must_all=False)] == ["cuda:0", "cuda:2"]


@LACKS
def test_what_is_missing_for_all_devices_is_said_of_all(
    what: str, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, fix = lacking(what, monkeypatch)
    for must_all in (True, False):
        with pytest.raises(StartError) as caught:
            apart(RuntimeSettings(device="cuda:all"), must_all=must_all)
        line = str(caught.value)
        assert said in line
        assert fix in line
        assert "(runtime.device = cuda:all)" in line


@dataclass(frozen=True)
class Node:
    """As onnxruntime tells of one."""

    op_type: str
    name: str = ""
    domain: str = ""


@dataclass(frozen=True)
class Part:
    """A part of the graph as onnxruntime tells of it."""

    ep_name: str
    nodes: tuple[Node, ...]

    def get_nodes(self) -> tuple[Node, ...]:
        return self.nodes


@dataclass(frozen=True)
class Session:
    """What onnxruntime's tells of itself."""

    provider: str
    parts: Sequence[Part] = ()

    def get_providers(self) -> list[str]:
        return [self.provider]

    def get_provider_graph_assignment_info(self) -> Sequence[Part]:
        return self.parts


def test_cuda_that_quietly_became_the_cpu_is_told_or_refused() -> None:
    quietly = Session(CPU)
    assert ON_CUDA.found(quietly, AUTO) == Placement("cpu", (CPU,), lack=NOT_STARTED)
    with pytest.raises(StartError, match="could not start its CUDA provider"):
        ON_CUDA.found(quietly, STRICT)
    on_cpu = Placement("cpu", (CPU,))
    assert on_cpu.found(quietly, ON_CPU) is on_cpu


def test_nodes_that_are_left_to_the_cpu_are_known_but_those_of_shapes() -> None:
    parts = [
        Part(CUDA, (Node("Conv", "/conv1"), Node("Relu", "/relu1"))),
        Part(CPU, (Node("Shape", "/shape"), Node("Gather", "/gather"))),
        Part(CPU, (Node("NonMaxSuppression", "/nms"), Node("QAttention", "", "com.microsoft"))),
    ]
    placement = ON_CUDA.found(Session(CUDA, parts), STRICT)
    assert placement == replace(
        ON_CUDA, nodes_on_cpu=("NonMaxSuppression /nms", "com.microsoft.QAttention")
    )


@pytest.mark.parametrize(
    "parts", [[], [Part(CPU, (Node("Shape"),))], [Part(CUDA, (Node("Conv"),))]]
)
def test_a_graph_that_computes_nothing_on_the_cpu_has_no_such_nodes(parts: list[Any]) -> None:
    assert ON_CUDA.found(Session(CUDA, parts), STRICT) == ON_CUDA


def test_a_graph_of_which_cuda_runs_nothing_is_refused_where_it_must_be_cuda() -> None:
    parts = [Part(CPU, (Node("MatMulInteger", "/dense"),))]
    with pytest.raises(StartError, match=NO_NODE.what):
        ON_CUDA.found(Session(CUDA, parts), STRICT)
    assert ON_CUDA.found(Session(CUDA, parts), AUTO).nodes_on_cpu == ("MatMulInteger /dense",)


WITH_TENSORRT = CudaUse(tensorrt=TensorRt("a", ("", "", ""), is_half=False))
ON_TENSORRT = Placement("cuda:0", ((TENSORRT, {}), (CUDA, {}), CPU))


def test_tensorrt_comes_before_cuda_where_it_is_asked_for(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(module, "provider_of", lambda *_: (TENSORRT, {"device_id": "0"}))
    placement = place(STRICT, WITH_TENSORRT)
    assert [provider[0] for provider in placement.providers[:2]] == [TENSORRT, CUDA]
    assert (placement.on_tensorrt, placement.lack) == (True, None)
    assert not place(STRICT).on_tensorrt


def test_a_tensorrt_that_is_missing_is_refused_or_told_and_cuda_taken(
    driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert place(AUTO, WITH_TENSORRT).lack == NO_TENSORRT, "this build has none"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    lack = Lack("libnvinfer.so.10 is not found", "install it")
    monkeypatch.setattr(module, "provider_of", lambda *_: lack)
    placement = place(AUTO, WITH_TENSORRT)
    assert (placement.device, placement.on_tensorrt, placement.lack) == ("cuda:0", False, lack)
    with pytest.raises(StartError) as caught:
        place(STRICT, WITH_TENSORRT)
    assert str(caught.value) == (
        "libnvinfer.so.10 is not found (runtime.tensorrt = true, runtime.device = cuda); "
        "install it; or set runtime.tensorrt = false"
    )


@pytest.mark.parametrize(
    ("session", "lack"),
    [
        (Session(CUDA, [Part(CUDA, (Node("Conv"),))]), TENSORRT_NOT_STARTED),
        (Session(TENSORRT, [Part(CUDA, (Node("Conv"),))]), NO_TENSORRT_NODE),
    ],
)
def test_a_tensorrt_that_quietly_does_nothing_is_told_or_refused(
    session: Session, lack: Lack
) -> None:
    assert ON_TENSORRT.found(session, AUTO) == replace(ON_CUDA, lack=lack)
    with pytest.raises(StartError, match=lack.what):
        ON_TENSORRT.found(session, STRICT)


def test_what_tensorrt_runs_is_on_the_gpu() -> None:
    parts = [Part(TENSORRT, (Node("Conv"),)), Part(CPU, (Node("NonMaxSuppression", "/nms"),))]
    found = ON_TENSORRT.found(Session(TENSORRT, parts), STRICT)
    assert found == replace(ON_TENSORRT, nodes_on_cpu=("NonMaxSuppression /nms",))
