"""What the log says of where versions run: once, with the reason, those alike together."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.arena.placed import Placed
from inferctl.arena.spec import ModelSpec
from inferctl.settings import ModelSettings
from inferctl.supervisor.placing import log_placed
from tests.tasks.tinybundles import laid_down, numbers

NO_DRIVER = ("libcuda.so.1 is not found", "install it")


def spec(place: int, name: str, device: str, version: int = 1) -> ModelSpec:
    bundle = laid_down(Path("models"), numbers(name=name, version=version))
    own = ModelSettings.model_validate({"runtime": {"device": device}})
    return ModelSpec(
        place=place, manifest=bundle.manifest, bundle="", slots=1, arena_fd=0, settings=own
    )


@pytest.fixture
def specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[int, ModelSpec]:
    monkeypatch.chdir(tmp_path)
    return {
        0: spec(0, "a", "auto"), 1: spec(1, "b", "auto"), 2: spec(2, "c", "cpu"),
        3: spec(3, "d", "auto"),
    }  # fmt: skip


def said(
    specs: dict[int, ModelSpec], placed: dict[int, Placed], capsys: pytest.CaptureFixture[str]
) -> list[str]:
    log_placed(specs, placed)
    return [line.split("] ", 1)[1] for line in capsys.readouterr().out.splitlines()]


def test_those_that_are_alike_are_in_one_line(
    specs: dict[int, ModelSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = Placed("cuda:0"), Placed("cuda:0,1", ("", ""))
    lines = said(specs, {0: first, 1: first, 2: Placed("cpu"), 3: second}, capsys)
    assert [" ".join(line.split()) for line in lines] == [
        "placed device=cuda:0 models='a v1, b v1' why='runtime.device = auto'",
        "placed device=cpu models='c v1' why='runtime.device = cpu'",
        "placed device=cuda:0,1 models='d v1' why='runtime.device = auto'",
    ]


@pytest.mark.row(122)
def test_a_cpu_that_nobody_asked_for_is_told_with_what_is_missing(
    specs: dict[int, ModelSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    lost = Placed("cpu", ("",), *NO_DRIVER)
    (placed, caution) = said(specs, {0: lost, 1: lost, 2: Placed("cpu"), 3: lost}, capsys)
    assert "models='c v1'" in placed
    assert caution.strip() == (
        "libcuda.so.1 is not found, so a, b and d run on the CPU: install it; "
        "set runtime.device = cpu if that is meant"
    )


def test_a_gpu_without_the_tensorrt_that_was_asked_for_is_told(
    specs: dict[int, ModelSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    lacks = Placed("cuda:0", ("",), "libnvinfer.so.10 is not found", "install it")
    placed, caution = said({0: specs[0]}, {0: lacks}, capsys)
    assert "device=cuda:0" in placed
    assert caution.strip() == (
        "libnvinfer.so.10 is not found, so a runs without TensorRT: install it; "
        "set runtime.tensorrt = false if that is meant"
    )


@pytest.mark.parametrize(
    ("places", "who"), [((0,), "a runs"), ((0, 1), "the models run"), ((0, 4), "a runs")]
)
def test_who_runs_there_is_said_briefly(
    places: tuple[int, ...],
    who: str,
    specs: dict[int, ModelSpec],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where there are two versions of a model."""
    specs[4] = spec(4, "a", "auto", version=2)
    lost = Placed("cpu", ("",), *NO_DRIVER)
    (line,) = said({p: specs[p] for p in places}, dict.fromkeys(places, lost), capsys)
    assert f", so {who} on the CPU: " in line


def test_nodes_on_the_cpu_are_named(
    specs: dict[int, ModelSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    placed = Placed("cuda:0", nodes_on_cpu=("NonMaxSuppression /nms", "Cos"))
    partly, _ = said({0: specs[0]}, {0: placed}, capsys)
    assert "runs on the CPU in part" in partly
    assert "model=a" in partly
    assert "nodes='NonMaxSuppression /nms, Cos'" in partly


def test_of_what_is_not_loaded_nothing_is_said(
    specs: dict[int, ModelSpec], capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(specs, {}, capsys) == []
