"""What a version is served with, and whether it may take over from another one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inferctl.arena.layout import arena_bytes
from inferctl.bundles import access
from inferctl.bundles.manifest import Manifest
from inferctl.errors import BundleError, SettingsError, StartError
from inferctl.settings import Settings
from inferctl.supervisor.specs import check_takes_over, model_spec, own_settings
from tests.cuda.machine import FakeDriver, give
from tests.tasks.tinybundles import classifier, detector, laid_down, numbers, tensor


@pytest.mark.parametrize(("rows", "workers", "slots"), [(8, 1, 8), (8, 2, 16), (1, 3, 3)])
def test_every_worker_could_hold_the_whole_queue(
    tmp_path: Path, rows: int, workers: int, slots: int
) -> None:
    shapes = laid_down(tmp_path, detector())
    settings = Settings.model_validate({"limits": {"max_queue_rows": rows}})
    spec = model_spec(5, shapes, own_settings("shapes", settings), workers)
    assert (spec.place, spec.slots) == (5, slots)
    assert os.fstat(spec.arena_fd).st_size == arena_bytes(shapes.manifest, slots)
    os.close(spec.arena_fd)


def test_who_may_change_a_version_is_said_in_the_log_and_to_the_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = laid_down(tmp_path, detector())
    monkeypatch.setattr(access, "ROOT", os.getuid())
    bundle.path.chmod(0o777)
    spec = model_spec(5, bundle, own_settings("shapes", Settings()), 1)
    os.close(spec.arena_fd)
    assert spec.warnings == ("anybody may change the folder 3; chmod o-w",)
    assert spec.warnings[0] in capsys.readouterr().out


def test_the_settings_of_all_versions_say_nothing_of_which_there_are() -> None:
    own = {"default": True, "labels": {"stable": 1}, "limits": {"max_concurrent": 3}}
    settings = Settings.model_validate({"models": {"shapes": own}})
    assert own_settings("shapes", settings).model_fields_set == {"batching", "limits", "runtime"}
    assert own_settings("shapes", settings).limits.max_concurrent == 3


def test_settings_that_contradict_each_other_are_refused() -> None:
    contradiction = {"batching": {"max_batch_rows": 9}, "limits": {"max_queue_rows": 8}}
    settings = Settings.model_validate({"models": {"shapes": contradiction}})
    with pytest.raises(SettingsError, match=r"^shapes: batching\.max_batch_rows = 9 is more than"):
        own_settings("shapes", settings)
    own_settings("others", settings)


@pytest.mark.row(113)
@pytest.mark.parametrize("device", ["cuda:1", "cuda:0,1", "cuda:all"])
def test_what_must_have_a_gpu_is_refused_at_once_without_a_driver(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.model_validate({"models": {"shapes": {"runtime": {"device": device}}}})
    give(monkeypatch, None)
    with pytest.raises(StartError, match=rf"libcuda\.so\.1, .* = {device}"):
        own_settings("shapes", settings)
    own_settings("others", settings)
    give(monkeypatch, FakeDriver())
    own_settings("shapes", settings)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        (classifier(labels=("one", "two")), classifier()),
        (classifier(height=16), classifier()),
        (numbers(version=4), numbers()),
    ],
)
def test_a_version_of_the_same_kind_takes_over(new: Manifest, old: Manifest) -> None:
    check_takes_over(new, old)


@pytest.mark.parametrize(
    ("new", "old", "what"),
    [
        (classifier(), detector(), "task"),
        (numbers(inputs=(tensor("input", "float32", 5),)), numbers(), "inputs"),
        (numbers(outputs=(tensor("other", "float32", 3),)), numbers(), "outputs"),
    ],
)
def test_a_version_that_clients_would_not_understand_does_not(
    new: Manifest, old: Manifest, what: str
) -> None:
    with pytest.raises(BundleError, match=f"its {what} would be another than of version 3"):
        check_takes_over(new, old)
