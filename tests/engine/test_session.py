"""The session: what it loads, on which device, and what its failures say."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from inferctl.engine import session as session_module
from inferctl.engine.placement import CPU, CUDA, NOT_STARTED, Placement
from inferctl.engine.session import (
    DeviceLost,
    Ended,
    NoKernel,
    OutOfMemory,
    RunFailed,
    Session,
    new_options,
)
from inferctl.errors import StartError
from inferctl.settings import RuntimeSettings
from tests.cuda.machine import give
from tests.faults.kit import ENDLESS, loop
from tests.graphs import POISON, image_graph, picky_graph

from .loaded import hungry_graph

AUTO = RuntimeSettings()
PLACED = Placement("cuda:0", ((CUDA, {"device_id": "0"}), CPU))


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, None)


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A machine with a GPU; the provider lists that onnxruntime is asked for. It gives the CPU."""
    asked: list[Any] = []

    def record(graph: str, options: object, providers: list[Any], enable_fallback: bool) -> Any:
        asked.append(providers)
        assert not enable_fallback
        return real(graph, options, providers=[CPU])

    real = onnxruntime.InferenceSession
    monkeypatch.setattr(session_module, "place", lambda *_: PLACED)
    monkeypatch.setattr(onnxruntime, "InferenceSession", record)
    return asked


def write(tmp_path: Path, content: bytes) -> Path:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    return file


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write(tmp_path, image_graph().SerializeToString())


def test_arrays_go_in_and_come_out(graph: Path, no_gpu: None) -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    (scores,) = Session(graph, AUTO, threads=1).run({"image": image})
    assert scores.dtype == np.float32
    assert scores.tolist() == image.reshape(2, 12).tolist()


def test_outputs_come_in_the_order_asked_for(graph: Path, no_gpu: None) -> None:
    session = Session(graph, AUTO, threads=2)
    image = np.zeros((1, 2, 2, 3), np.uint8)
    first, second = session.run({"image": image}, ["scores", "scores"])
    assert first.shape == second.shape == (1, 12)
    with pytest.raises(RunFailed, match="absent"):
        session.run({"image": image}, ["absent"])


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_without_a_gpu_it_runs_on_the_cpu(device: str, graph: Path, no_gpu: None) -> None:
    runtime = RuntimeSettings.model_validate({"device": device})
    assert Session(graph, runtime, threads=1).provider == CPU


@pytest.mark.row(113)
def test_cuda_without_a_gpu_is_refused_with_advice(graph: Path, no_gpu: None) -> None:
    with pytest.raises(
        StartError, match=r"libcuda\.so\.1, the CUDA driver, is not found"
    ) as caught:
        Session(graph, RuntimeSettings(device="cuda"), threads=1)
    assert caught.value.exit_code == 3
    assert "--device auto" in caught.value.hint
    assert "\n" not in str(caught.value)


def test_the_providers_are_those_of_its_placement(graph: Path, asked_for: list[Any]) -> None:
    session = Session(graph, AUTO, threads=1)
    assert asked_for == [[*PLACED.providers]]
    assert (session.placement.device, session.placement.lack) == ("cpu", NOT_STARTED)


@pytest.mark.row(113)
def test_cuda_that_quietly_became_the_cpu_is_refused(graph: Path, asked_for: list[Any]) -> None:
    """onnxruntime serves from the CPU when its CUDA libraries do not load."""
    with pytest.raises(StartError, match="could not start its CUDA provider"):
        Session(graph, RuntimeSettings(device="cuda"), threads=1)
    assert asked_for


def test_on_cuda_the_nodes_that_are_left_to_the_cpu_are_known(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session is one on the CPU, which says that it is not: all of its nodes are there."""
    monkeypatch.setattr(session_module, "place", lambda *_: replace(PLACED, providers=(CPU,)))
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _: [CUDA, CPU])
    assert Session(graph, AUTO, threads=1).placement.nodes_on_cpu == ("Flatten",)


@pytest.mark.row(104)
@pytest.mark.parametrize("content", [b"", b"this is no graph", b"\x08\x0a\x3a\x00"])
def test_a_file_that_is_no_graph_is_one_line(content: bytes, tmp_path: Path, no_gpu: None) -> None:
    file = write(tmp_path, content)
    with pytest.raises(StartError, match="onnxruntime cannot load the graph: ") as caught:
        Session(file, AUTO, threads=1)
    assert "\n" not in str(caught.value)
    assert caught.value.where == str(file)


def strange(
    *nodes: onnx.NodeProto,
    opset: int = 17,
    ir_version: int = 10,
    functions: Sequence[onnx.FunctionProto] = (),
) -> bytes:
    """A graph of these nodes, from `x` to `y`, in two domains."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows"]) for name in "xy")
    model = helper.make_model(
        helper.make_graph(nodes, "strange", [x], [y]),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("own", 1)],
        ir_version=ir_version, functions=functions,
    )  # fmt: skip
    content: bytes = model.SerializeToString()
    return content


def calling(name: str, other: str) -> onnx.FunctionProto:
    """A function that is nothing but a call of another one."""
    call = helper.make_node(other, ["a"], ["b"], domain="own")
    return helper.make_function("own", name, ["a"], ["b"], [call], [helper.make_opsetid("own", 1)])


RELU = helper.make_node("Relu", ["x"], ["y"])
OWN = helper.make_node("F", ["x"], ["y"], domain="own")
STRANGE = {
    "opset 99": strange(RELU, opset=99),
    "opset 0": strange(RELU, opset=0),
    "IR 99": strange(RELU, ir_version=99),
    "unknown operator": strange(helper.make_node("Absent", ["x"], ["y"])),
    "custom library": strange(OWN),
    "function of itself": strange(OWN, functions=[calling("F", "F")]),
    "functions of each other": strange(OWN, functions=[calling("F", "G"), calling("G", "F")]),
    "cycle": strange(RELU, helper.make_node("Relu", ["y"], ["x"])),
}


@pytest.mark.row(107)
@pytest.mark.parametrize("content", STRANGE.values(), ids=STRANGE)
def test_a_graph_that_nobody_can_run_is_one_line(
    content: bytes, tmp_path: Path, no_gpu: None
) -> None:
    with pytest.raises(StartError, match="onnxruntime cannot load the graph: ") as caught:
        Session(write(tmp_path, content), AUTO, threads=1)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.row(104)
def test_a_missing_file_is_one_line(tmp_path: Path, no_gpu: None) -> None:
    with pytest.raises(StartError, match="onnxruntime cannot load the graph: ") as caught:
        Session(tmp_path / "absent.onnx", AUTO, threads=1)
    assert "\n" not in str(caught.value)


def test_a_value_that_the_graph_cannot_take_fails_the_run_alone(
    tmp_path: Path, no_gpu: None
) -> None:
    session = Session(write(tmp_path, picky_graph().SerializeToString()), AUTO, threads=1)
    image = np.zeros((2, 2, 2, 3), np.uint8)
    image[1, 0, 0, 0] = POISON
    with pytest.raises(RunFailed) as caught:
        session.run({"image": image})
    assert "\n" not in caught.value.what
    assert session.run({"image": image[:1]})[0].shape == (1, 12)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 3, 2, 3), np.uint8),
        np.zeros((1, 2, 2, 3), np.float32),
        np.zeros((2, 2, 3), np.uint8),
    ],
)
def test_an_input_of_another_form_fails_the_run(
    image: np.ndarray[Any, Any], graph: Path, no_gpu: None
) -> None:
    with pytest.raises(RunFailed):
        Session(graph, AUTO, threads=1).run({"image": image})


def test_a_missing_input_fails_the_run(graph: Path, no_gpu: None) -> None:
    with pytest.raises(RunFailed, match="image"):
        Session(graph, AUTO, threads=1).run({})


@pytest.mark.parametrize(
    "message",
    [
        "Failed to allocate memory for requested buffer of size 4096",
        "Available memory of 100 is smaller than requested bytes of 200",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUDA error 2: whatever it says",
        "Non-zero status code returned while running Conv node. Status Message: std::bad_alloc",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
    ],
)
def test_a_message_about_memory_is_an_error_of_its_own(message: str) -> None:
    assert isinstance(session_module._failure(message + "\nmore"), OutOfMemory)
    assert session_module._failure(message + "\nmore").what == message


@pytest.mark.parametrize("message", ["", "indices element out of data bounds", "Got invalid dims"])
def test_another_message_is_not_about_memory(message: str) -> None:
    assert type(session_module._failure(message)) is RunFailed


@pytest.mark.parametrize(
    ("message", "is_lost"),
    [
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=1", True),
        ("CUDA error 719: unspecified launch failure", True),
        ("CUDNN failure 8: CUDNN_STATUS_EXECUTION_FAILED ; CUDA failure 214: uncorrectable", True),
        ("CUDA failure 9: invalid configuration argument", False),
        ("row 700: CUDA knows better", False),
    ],
)
def test_a_device_that_runs_nothing_any_more_is_told_from_a_bad_batch(
    message: str, is_lost: bool
) -> None:
    assert type(session_module._failure(message)) is (DeviceLost if is_lost else RunFailed)


def test_a_shape_that_cudnn_has_no_plan_for_is_told_from_a_bad_batch() -> None:
    """As onnxruntime 1.31 says it of a convolution in fp32 without TF32 on an H200."""
    message = (
        "Non-zero status code returned while running Conv node. Name:'node_Conv_838' Status "
        "Message: Failed to initialize CUDNN Frontend: cudnn_fe_call.cc:117 CUDNN_FE failure 8: "
        "HEURISTIC_QUERY_FAILED ; GPU=0 ; hostname=vm ; file=conv.cc ; line=238"
    )
    assert type(session_module._failure(message)) is NoKernel
    assert isinstance(session_module._failure(f"{message} CUDA failure 700: lost"), DeviceLost)


def test_a_batch_that_the_memory_does_not_hold_is_told_from_a_bad_one(
    tmp_path: Path, no_gpu: None
) -> None:
    graph = write(tmp_path, hungry_graph(memory_rows=2).SerializeToString())
    session = Session(graph, AUTO, threads=1)
    image = np.ones((3, 2, 2, 3), np.uint8)
    with pytest.raises(OutOfMemory):
        session.run({"image": image})
    (scores,) = session.run({"image": image[:2]})
    assert (scores == 1).all()


@pytest.mark.row(102)
def test_a_session_without_its_threads_is_not_served_from(
    graph: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a fork: it would run, many times slower."""
    monkeypatch.setattr(session_module, "_threads", lambda: 7)
    Session(graph, AUTO, threads=1)
    with pytest.raises(StartError, match="did not start 4 threads"):
        Session(graph, AUTO, threads=4)


@pytest.mark.row(102)
def test_a_session_has_its_threads(graph: Path, no_gpu: None) -> None:
    before = session_module._threads()
    session = Session(graph, AUTO, threads=4)
    assert session_module._threads() == before + 3
    del session


def test_where_threads_cannot_be_counted_they_are_not(
    graph: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(session_module, "THREADS", tmp_path / "absent")
    Session(graph, AUTO, threads=2)


@pytest.mark.row(87)
def test_a_run_ends_when_its_options_say_so(tmp_path: Path, no_gpu: None) -> None:
    session = Session(write(tmp_path, loop().SerializeToString()), AUTO, threads=1)
    options = new_options()
    ending = threading.Timer(0.05, setattr, (options, "terminate", True))
    ending.start()
    with pytest.raises(Ended):
        session.run({"x": np.array([[ENDLESS]])}, options=options)
    ending.join()
    (y,) = session.run({"x": np.array([[3]])}, options=new_options())
    assert y.tolist() == [[3]]
