"""How many instances a model has, and of which kind."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from inferctl.cuda.lack import Lack
from inferctl.engine import instances as instances_module
from inferctl.engine.device_instance import DeviceInstance
from inferctl.engine.instance import HostInstance, ShapedInstance
from inferctl.engine.instances import Instances
from inferctl.engine.placement import CUDA, CudaUse, Placement
from inferctl.engine.room import MIB
from inferctl.engine.session import DeviceLost, NoKernel, OutOfMemory, RunFailed, Session
from inferctl.engine.tensorrt import TENSORRT
from inferctl.errors import InsufficientMemory, StartError
from inferctl.settings import RuntimeSettings

from .cudas import Runtime, host_cuda
from .loaded import load_images, load_texts


@pytest.fixture
def loaded(tmp_path: Path) -> tuple[Path, Any]:
    """In fp16, as it says."""
    model, _ = load_images(tmp_path, precision="fp16")
    return model.graph, model.manifest


Fails = Mapping[int, StartError | RunFailed]


class Sessions:
    """Loads on the CPU what is asked for, as if on CUDA; the numbers in `fails` do not load, or
    not run."""

    def __init__(self, fails: Fails) -> None:
        self.uses: list[CudaUse] = []
        self._fails = fails

    def __call__(self, graph: Path, runtime: Any, threads: int, use: CudaUse) -> Session:
        self.uses.append(use)
        error = self._fails.get(len(self.uses))
        if isinstance(error, StartError):
            raise error
        session = Session(graph, RuntimeSettings(device="cpu"), threads, use=use)
        session.placement = placed(runtime, use)
        session.on_cuda = session.placement.on_cuda
        if error:
            session.run = Mock(side_effect=error)  # type: ignore[method-assign]
        return session


def placed(runtime: RuntimeSettings, use: CudaUse) -> Placement:
    providers = (TENSORRT, {}), (CUDA, {})
    return Placement(
        "cpu" if runtime.device == "cpu" else "cuda:0", providers[0 if use.tensorrt else 1 :]
    )


def begin(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch, fails: Fails,
    left: int = 2**30, **runtime: Any,
) -> tuple[Instances, Sessions, Runtime]:  # fmt: skip
    """On a machine with a device."""
    sessions, (cuda, device) = Sessions(fails), host_cuda(left=left)
    monkeypatch.setattr(instances_module, "Session", sessions)
    monkeypatch.setattr(instances_module, "place", placed)
    monkeypatch.setattr(instances_module, "open_cuda", lambda _: cuda)
    return Instances(*loaded, RuntimeSettings(**runtime), 1), sessions, device


def test_on_the_cpu_one_is_shared(loaded: tuple[Path, Any]) -> None:
    instances = Instances(*loaded, RuntimeSettings(device="cpu"), 1)
    assert isinstance(instances.first, HostInstance)
    assert instances.another() is instances.first


def test_on_a_device_each_has_a_session_and_all_run_in_one_stream(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    instances, sessions, _ = begin(loaded, monkeypatch, {})
    other = instances.another()
    assert [type(one) for one in (instances.first, other)] == [DeviceInstance] * 2
    assert instances.first is not other
    first, second = sessions.uses
    assert first.stream is second.stream is not None
    assert first.channels_last
    assert second.channels_last


def test_weights_that_do_not_fit_are_not_tried(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = r"^insufficient memory: pixels version 1 takes 0 MiB on cuda:0, and 0 MiB are left"
    with pytest.raises(InsufficientMemory, match=said):
        begin(loaded, monkeypatch, {1: StartError("it was tried")}, left=10)
    with pytest.raises(InsufficientMemory, match=said):
        begin(loaded, monkeypatch, {1: StartError("it was tried")}, memory_limit_bytes=10)


def test_another_takes_what_the_first_came_to_take(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    instances, sessions, device = begin(loaded, monkeypatch, {}, left=100 * MIB)
    device.left = 60 * MIB
    instances.footprint.step("for 1 row")
    instances.another()
    device.left = 40 * MIB - 1
    with pytest.raises(InsufficientMemory, match="takes 40 MiB on cuda:0, and 39 MiB are left"):
        instances.another()
    assert len(sessions.uses) == 2


def test_what_does_not_fit_is_not_tried_otherwise(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InsufficientMemory, match="too much"):
        begin(loaded, monkeypatch, {1: InsufficientMemory("too much")})


def test_pictures_that_cannot_be_captured_channels_last_are_otherwise(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    instances, sessions, _ = begin(loaded, monkeypatch, {1: StartError("shapes travel")})
    assert isinstance(instances.first, DeviceInstance)
    instances.another()
    assert [use.channels_last for use in sessions.uses] == [True, False, False]


@pytest.mark.parametrize("graphs", [True, False])
def test_pictures_that_do_not_run_channels_last_are_otherwise(
    graphs: bool, loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuDNN has no plan for some of their convolutions."""
    fails = {1: NoKernel("no plan")}
    instances, sessions, _ = begin(loaded, monkeypatch, fails, cuda_graphs=graphs)
    assert isinstance(instances.first, DeviceInstance) == graphs
    instances.another()
    assert [use.channels_last for use in sessions.uses] == [True, False, False][: 2 + graphs]


def test_a_device_that_is_lost_when_it_is_tried_is_not_tried_otherwise(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceLost):
        begin(loaded, monkeypatch, {1: DeviceLost("CUDA failure 719")})


@pytest.mark.parametrize(
    ("tf32", "ruled_out", "last"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_pictures_in_fp32_are_channels_last_on_tensor_cores_alone(
    tf32: bool, ruled_out: bool, last: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model without TF32 rules it out for all of the process."""
    monkeypatch.setattr(instances_module, "is_tf32_ruled_out", lambda: ruled_out)
    model, _ = load_images(tmp_path)
    _, sessions, _ = begin((model.graph, model.manifest), monkeypatch, {}, tf32=tf32)
    assert [use.channels_last for use in sessions.uses] == [last]


def test_a_row_that_does_not_fit_is_told_with_its_model(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        InsufficientMemory, match=r"^insufficient memory: pixels fails at 1 row; serve fewer"
    ):
        begin(loaded, monkeypatch, {1: OutOfMemory("Failed to allocate memory")})


def test_pictures_that_cannot_be_captured_have_a_session_for_each_shape(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    no = StartError("a node is on the CPU")
    instances, sessions, _ = begin(loaded, monkeypatch, {1: no, 2: no})
    assert isinstance(instances.first, ShapedInstance)
    assert instances.another() is instances.first
    assert sessions.uses[2:] == [CudaUse(channels_last=True)]


def test_texts_are_never_channels_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = load_texts(tmp_path)
    loaded = model.graph, model.manifest
    _, sessions, _ = begin(loaded, monkeypatch, {1: StartError("a node is on the CPU")})
    assert [use.channels_last for use in sessions.uses] == [False, False]
    assert sessions.uses[1] == CudaUse()


@pytest.mark.parametrize("runtime", [{"device": "cpu"}, {"cuda_graphs": False}])
def test_who_wants_no_graphs_gets_none(
    runtime: dict[str, Any], loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    instances, _, _ = begin(loaded, monkeypatch, {}, **runtime)
    assert not isinstance(instances.first, DeviceInstance)


def test_with_tensorrt_one_session_is_shared_and_graphs_are_its_own_matter(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    instances, sessions, _ = begin(loaded, monkeypatch, {}, tensorrt=True)
    assert type(instances.first) is HostInstance
    assert instances.another() is instances.first
    (use,) = sessions.uses
    assert (use.stream, use.tensorrt is None) == (None, False)
    assert instances.session.placement.lack is None


def test_what_tensorrt_cannot_build_is_run_by_cuda_with_graphs_and_told(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = {1: StartError("it has no engine")}
    instances, sessions, _ = begin(loaded, monkeypatch, fails, tensorrt=True)
    assert isinstance(instances.first, DeviceInstance)
    assert [use.tensorrt is None for use in sessions.uses] == [False, True]
    lack = instances.session.placement.lack
    assert lack is not None
    assert lack.what == "it has no engine"
    with pytest.raises(StartError, match="it has no engine"):
        begin(loaded, monkeypatch, fails, tensorrt=True, device="cuda")


def test_a_tensorrt_that_quietly_does_nothing_leaves_the_model_to_cuda_with_graphs(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lack = Lack("onnxruntime could not start it", "look")

    class Quiet(Sessions):
        def __call__(self, *others: Any, use: CudaUse) -> Session:
            session = super().__call__(*others, use=use)
            if use.tensorrt:
                session.placement = replace(session.placement, lack=lack)
            return session

    monkeypatch.setattr(sys.modules[__name__], "Sessions", Quiet)
    instances, sessions, _ = begin(loaded, monkeypatch, {}, tensorrt=True)
    assert isinstance(instances.first, DeviceInstance)
    assert len(sessions.uses) == 2
    assert instances.session.placement.lack == lack


def test_what_tensorrt_does_not_hold_is_not_tried_on_cuda(
    loaded: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InsufficientMemory, match="too much"):
        begin(loaded, monkeypatch, {1: InsufficientMemory("too much")}, tensorrt=True)
