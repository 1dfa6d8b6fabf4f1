"""A model on several devices: what it has on each, and what becomes of one that lacks room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inferctl.arena.placed import Placed
from inferctl.bundles.manifest import Manifest
from inferctl.engine import instances as instances_module
from inferctl.engine.crew import Crew
from inferctl.engine.device_instance import DeviceInstance
from inferctl.engine.instance import HostInstance, Instance, ShapedInstance
from inferctl.engine.instances import Instances
from inferctl.engine.model import Model
from inferctl.engine.session import RunFailed
from inferctl.engine.spread import Spread
from inferctl.engine.warmup import reinforce, warm_up
from inferctl.errors import InsufficientMemory, StartError
from inferctl.settings import BatchingSettings, RuntimeSettings
from tests.graphs import PIXELS, image_fields, image_graph, write_bundle

from .cudas import Error, Runtime, give_device
from .loaded import load_images

# The largest piece of memory that such a device gives: less than a row has, and what two have.
NO_ROW, TWO_ROWS = 1, 2 * 4 * PIXELS


@pytest.fixture
def loaded(tmp_path: Path) -> tuple[Path, Manifest]:
    model, _ = load_images(tmp_path)
    return model.graph, model.manifest


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Three."""
    return give_device(monkeypatch, devices=3)


def spread(loaded: tuple[Path, Manifest], device: str, **changes: Any) -> Spread:
    must_all = changes.pop("must_all", True)
    return Spread(*loaded, RuntimeSettings(device=device, **changes), 1, must_all=must_all)


@pytest.mark.parametrize(
    ("device", "on", "told"),
    [
        ("cuda:1", ["cuda:1"], "cuda:1"),
        ("cuda:2,0", ["cuda:2", "cuda:0"], "cuda:2,0"),
        ("cuda:all", ["cuda:0", "cuda:1", "cuda:2"], "cuda:0,1,2"),
        ("cuda", ["cuda:0"], "cuda:0"),
        ("auto", ["cuda:0"], "cuda:0"),
    ],
)
def test_it_has_instances_on_each_device_that_is_asked_for(
    device: str, on: list[str], told: str, loaded: tuple[Path, Manifest], devices: Runtime
) -> None:
    found = spread(loaded, device)
    assert [one.session.placement.device for one in found.each] == on
    assert all(isinstance(one.first, DeviceInstance) for one in found.each)
    numbers = [name.removeprefix("cuda:") for name in on]
    assert found.told() == Placed(told, tuple(f"GPU-{number}" for number in numbers))
    assert found.first is found.each[0].first
    assert found.session is found.each[0].session


def test_on_the_cpu_there_is_one(loaded: tuple[Path, Manifest]) -> None:
    found = spread(loaded, "cpu")
    assert [type(one.first) for one in found.each] == [HostInstance]
    assert found.told() == Placed("cpu")


def test_all_devices_that_are_named_must_be_there_before_anything_is_loaded(
    loaded: tuple[Path, Manifest], devices: Runtime
) -> None:
    said = r"there is no device 3: the driver shows 3, .* \(runtime\.device = cuda:1,3,0\)"
    with pytest.raises(StartError, match=said):
        spread(loaded, "cuda:1,3,0")
    assert devices.made == 0


def test_of_all_there_are_there_must_be_one(
    loaded: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_device(monkeypatch, devices=0)
    with pytest.raises(StartError, match=r"shows no device \(runtime\.device = cuda:all\)"):
        spread(loaded, "cuda:all")


def test_an_engine_that_follows_another_goes_on_with_the_devices_that_are_left(
    loaded: tuple[Path, Manifest], devices: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    found = spread(loaded, "cuda:1,3,0", must_all=False)
    assert found.told().device == "cuda:1,0"
    assert found.told().left_out == (
        "cuda:3 (there is no device 3: the driver shows 3, numbered from 0)",
    )
    assert capsys.readouterr().err.startswith(
        "inferctl: pixels: cuda:3 is left out: there is no device 3"
    )
    with pytest.raises(StartError, match="there is no device 4"):
        spread(loaded, "cuda:3,4", must_all=False)


@pytest.mark.parametrize(("full", "told"), [(0, "cuda:1,2"), (1, "cuda:0,2"), (2, "cuda:0,1")])
def test_a_device_that_does_not_hold_it_is_left_out_and_named(
    full: int, told: str, loaded: tuple[Path, Manifest], devices: Runtime,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    devices.largest[full] = 0
    found = spread(loaded, "cuda:all")
    assert found.told().device == told
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"inferctl: pixels: cuda:{full} is left out: insufficient memory: ")
    (left_out,) = found.told().left_out
    assert left_out.startswith(f"cuda:{full} (insufficient memory: pixels version 1 takes ")


def test_where_no_device_holds_it_it_is_refused(
    loaded: tuple[Path, Manifest], devices: Runtime
) -> None:
    devices.largest = dict.fromkeys(range(3), 0)
    with pytest.raises(InsufficientMemory, match="on cuda:2, and 0 MiB are left"):
        spread(loaded, "cuda:all")


def test_a_device_without_memory_for_a_stream_is_left_out_too(
    loaded: tuple[Path, Manifest], devices: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = devices.cudaStreamCreateWithFlags

    def refuse(flags: int) -> tuple[Error, int]:
        if devices.devices[-1] == 1:
            return Error.cudaErrorMemoryAllocation, 0
        return make(flags)

    monkeypatch.setattr(devices, "cudaStreamCreateWithFlags", refuse)
    found = spread(loaded, "cuda:0,1")
    assert found.told().left_out == ("cuda:1 (CUDA: cudaErrorMemoryAllocation)",)


def test_a_device_that_fails_before_it_runs_is_left_out_by_a_successor_alone(
    loaded: tuple[Path, Manifest], devices: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    means = devices.cudaSetDevice

    def refuse(device: int) -> tuple[Error]:
        return (Error.cudaErrorLaunchFailure,) if device == 0 else means(device)

    monkeypatch.setattr(devices, "cudaSetDevice", refuse)
    assert spread(loaded, "cuda:0,1", must_all=False).told().device == "cuda:1"
    with pytest.raises(RunFailed, match="cudaErrorLaunchFailure"):
        spread(loaded, "cuda:0,1")


def test_nothing_but_memory_leaves_a_device_out_at_a_start(
    loaded: tuple[Path, Manifest], devices: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = instances_module.Session

    def broken(graph: Path, settings: RuntimeSettings, *rest: Any, **use: Any) -> Any:
        if settings.device == "cuda:1":
            raise StartError("it fell off the bus")
        return load(graph, settings, *rest, **use)

    monkeypatch.setattr(instances_module, "Session", broken)
    with pytest.raises(StartError, match="it fell off the bus"):
        spread(loaded, "cuda:0,1")
    assert spread(loaded, "cuda:0,1", must_all=False).told().device == "cuda:0"


def warmed_up(
    tmp_path: Path, device: str, instances: int = 2, **runtime: Any
) -> tuple[Model, Crew]:
    """A model whose batches have four rows at most, and the threads that run it."""
    manifest = write_bundle(tmp_path / "bundle", image_graph(), image_fields())
    model = Model(tmp_path / "bundle", manifest, RuntimeSettings(device=device, **runtime), 1)
    crew = Crew("pixels", [model.instances.first])
    warm_up(model, BatchingSettings(max_batch_rows=4), 0, crew)
    reinforce(model, crew, instances)
    return model, crew


def device_numbers(crew: Crew) -> list[int]:
    """Of its instances, in its order."""
    return [
        member.instance._cuda.device_id
        for member in crew.members
        if isinstance(member.instance, DeviceInstance)
    ]


def test_threads_have_instances_on_the_devices_in_turns(tmp_path: Path, devices: Runtime) -> None:
    _, crew = warmed_up(tmp_path, "cuda:0,2")
    assert device_numbers(crew) == [0, 2, 0, 2]
    shapes = [{shape.rows for shape in m.instance._captured} for m in crew.members]  # type: ignore[attr-defined]
    assert shapes == [{1, 2, 4}] * 4
    streams = {m.instance._runs.address for m in crew.members}  # type: ignore[attr-defined]
    assert {devices.device_of(stream) for stream in streams} == {0, 2}
    assert len(streams) == 2, "one for the runs of each device"
    crew.end()


def test_a_device_that_runs_no_row_hands_the_warm_up_to_the_next(
    tmp_path: Path, devices: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    devices.largest[0] = NO_ROW
    model, crew = warmed_up(tmp_path, "cuda:all")
    assert model.instances.told().device == "cuda:1,2"
    assert device_numbers(crew) == [1, 2, 1, 2]
    assert model.warmed == [1, 2, 4]
    assert "pixels: cuda:0 is left out: insufficient memory: pixels fails at 1 rows" in (
        capsys.readouterr().err
    )
    assert devices.holders() == {1, 2}, "what it had is given back"
    crew.end()


def test_the_last_device_that_runs_no_row_refuses_the_model(
    tmp_path: Path, devices: Runtime
) -> None:
    devices.largest = dict.fromkeys(range(3), NO_ROW)
    with pytest.raises(InsufficientMemory, match="pixels fails at 1 rows during warm-up"):
        warmed_up(tmp_path, "cuda:all")


def test_a_device_that_does_not_hold_the_batches_of_the_first_is_left_out(
    tmp_path: Path, devices: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    devices.largest[1] = TWO_ROWS
    model, crew = warmed_up(tmp_path, "cuda:all")
    assert device_numbers(crew) == [0, 2, 0, 2]
    (left_out,) = model.instances.told().left_out
    assert left_out == ("cuda:1 (insufficient memory: pixels fails at 4 rows during warm-up)")
    assert "pixels: cuda:1 is left out: " in capsys.readouterr().err
    assert devices.holders() == {0, 2}
    crew.end()


def test_batches_are_no_larger_than_the_first_device_holds(
    tmp_path: Path, devices: Runtime
) -> None:
    devices.largest[0] = TWO_ROWS
    model, crew = warmed_up(tmp_path, "cuda:0,1")
    assert model.warmed == [1, 2]
    assert device_numbers(crew) == [0, 1, 0, 1]
    crew.end()


def test_a_device_with_room_for_one_instance_has_one(
    tmp_path: Path, devices: Runtime, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    another = Instances.another

    def some(self: Instances) -> Instance:
        if self.session.placement.device == "cuda:1":
            raise InsufficientMemory("it is full")
        return another(self)

    monkeypatch.setattr(Instances, "another", some)
    model, crew = warmed_up(tmp_path, "cuda:0,1", instances=3)
    assert device_numbers(crew) == [0, 1, 0, 0]
    assert model.instances.told() == Placed("cuda:0,1", ("GPU-0", "GPU-1"))
    assert capsys.readouterr().err == (
        "inferctl: pixels: the device has 1 of 3 instances: insufficient memory: it is full\n"
    )
    crew.end()


def test_without_graphs_the_threads_of_a_device_share_its_sessions(
    tmp_path: Path, devices: Runtime
) -> None:
    _, crew = warmed_up(tmp_path, "cuda:0,1", cuda_graphs=False)
    first, second, *others = [member.instance for member in crew.members]
    assert others == [first, second]
    assert isinstance(first, ShapedInstance)
    assert isinstance(second, ShapedInstance)
    for shaped, number in ((first, 0), (second, 1)):
        sessions = {one.session for one in shaped._of.values()}
        assert len(sessions) == 3, "one for each size"
        assert {one.placement.device for one in sessions} == {f"cuda:{number}"}
    crew.end()


def test_what_all_devices_take_is_one_figure(tmp_path: Path, devices: Runtime) -> None:
    model, crew = warmed_up(tmp_path, "cuda:0,1", instances=1)
    taken = [one.footprint.taken_bytes for one in model.instances.each]
    assert all(taken)
    assert model.instances.taken_bytes == sum(taken)
    crew.end()
