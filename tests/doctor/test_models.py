"""The bundles: each fault of one is a line of its own, and the others are looked at."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from inferctl.bundles.manifest import GRAPH_FILE, MANIFEST_FILE
from inferctl.doctor.findings import Finding
from inferctl.doctor.models import model_findings
from inferctl.settings import Settings
from tests.graphs import image_fields, image_graph, write_bundle


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two models, of one two versions."""
    for name, version in (("lines", 1), ("shapes", 1), ("shapes", 2)):
        put(tmp_path / "models", name, version)
    return tmp_path / "models"


def put(models: Path, name: str, version: int, **changes: Any) -> Path:
    folder = models / name / str(version)
    write_bundle(folder, image_graph(), image_fields(name=name, version=version, **changes))
    return folder


def found(
    root: Path, *, opset: int = 27, by_hash: bool = True, is_named: bool = True, **settings: Any
) -> dict[str, Finding]:
    own = Settings.model_validate({"models_dir": str(root), **settings})
    lines = model_findings(
        own, opset, by_hash=by_hash, is_named=is_named, on_bytes=lambda done, whole: None
    )
    return {one.name: one for one in lines}


def statuses(lines: dict[str, Finding]) -> dict[str, str]:
    return {name: one.status for name, one in lines.items()}


def test_every_version_is_looked_at(models: Path) -> None:
    lines = found(models)
    assert statuses(lines) == dict.fromkeys(
        ("settings", "lines 1", "shapes 1", "shapes 2", "shared memory"), "ok"
    )
    assert "image-classification, fp32, opset 17" in lines["lines 1"].finding
    assert "intact by SHA-256" in lines["lines 1"].finding


def test_a_changed_byte_is_found_by_its_hash_alone(models: Path) -> None:
    graph = models / "shapes" / "1" / GRAPH_FILE
    data = bytearray(graph.read_bytes())
    data[-1] ^= 1
    graph.write_bytes(data)
    by_hash = found(models)
    assert statuses(by_hash) | {"shapes 1": "fail"} == statuses(by_hash)
    assert "SHA-256 differs" in by_hash["shapes 1"].finding
    assert "export it again" in by_hash["shapes 1"].fix
    assert by_hash["shapes 2"].status == "ok"
    quick = found(models, by_hash=False)["shapes 1"]
    assert quick.status == "ok"
    assert "hashes not looked at" in quick.finding


@pytest.mark.parametrize("by_hash", [True, False])
def test_half_a_file_is_found_without_its_hash(models: Path, by_hash: bool) -> None:
    graph = models / "shapes" / "1" / GRAPH_FILE
    graph.write_bytes(graph.read_bytes()[:-10])
    line = found(models, by_hash=by_hash)["shapes 1"]
    assert line.status == "fail"
    assert "size differs" in line.finding


@pytest.mark.parametrize("by_hash", [True, False])
def test_a_file_that_is_missing_is_named(models: Path, by_hash: bool) -> None:
    (models / "shapes" / "1" / GRAPH_FILE).unlink()
    assert GRAPH_FILE in found(models, by_hash=by_hash)["shapes 1"].finding


def test_a_manifest_that_is_none_is_named(models: Path) -> None:
    (models / "shapes" / "1" / MANIFEST_FILE).write_text("{}")
    lines = found(models)
    assert lines["shapes 1"].status == "fail"
    assert "the manifest does not fit" in lines["shapes 1"].finding
    assert lines["shapes 2"].status == "ok"


def test_an_opset_that_onnxruntime_does_not_know_fails(models: Path) -> None:
    line = found(models, opset=16)["lines 1"]
    assert line.status == "fail"
    assert "its opset is 17, and onnxruntime knows 16 at most" in line.finding
    assert found(models, opset=0)["lines 1"].status == "ok"  # nobody knows


def test_who_may_change_a_bundle_is_told(models: Path) -> None:
    (models / "lines" / "1").chmod(0o777)
    line = found(models)["lines 1"]
    # Of root's it is only said, and comes with a line that the rest is well.
    if os.geteuid():
        assert line.status == "fail"
    lines = [
        one for one in model_findings(
            Settings(models_dir=str(models)), 27, by_hash=False, is_named=True,
            on_bytes=lambda done, whole: None,
        )
        if one.name == "lines 1"
    ]  # fmt: skip
    assert any("chmod" in one.fix for one in lines)


@pytest.mark.parametrize(
    ("settings", "finding"),
    [
        ({"models": {"shape": {}}}, "models.shape: no such model; found: lines, shapes"),
        ({"models": {"shapes": {"versions": [3]}}}, "models.shapes: version 3 is not there"),
        (
            {"models": {"shapes": {"default": True}, "lines": {"default": True}}},
            "both marked as default",
        ),
    ],
)
def test_settings_that_name_what_is_not_there_fail(
    models: Path, settings: dict[str, Any], finding: str
) -> None:
    lines = found(models, **settings)
    assert lines["settings"].status == "fail"
    assert finding in lines["settings"].finding
    assert lines["settings"].fix
    assert lines["shapes 1"].status == "ok"


@pytest.mark.parametrize(("is_named", "status"), [(True, "fail"), (False, "warn")])
def test_a_folder_that_is_not_there_matters_if_it_was_named(
    tmp_path: Path, is_named: bool, status: str
) -> None:
    lines = found(tmp_path / "absent", is_named=is_named)
    assert statuses(lines) == {"folder": status}
    assert "inferctl export" in lines["folder"].fix


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    loop = tmp_path / "models"
    loop.symlink_to(loop)  # which not even root can follow
    line = found(loop)["folder"]
    assert line.status == "fail"
    assert "cannot read the folder of models" in line.finding


def test_a_model_that_does_not_fit_into_memory_fails(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferctl.engine.room.left_for_process", lambda _: 10)
    assert "insufficient memory" in found(models)["lines 1"].finding


def test_rows_that_would_not_fit_into_memory_are_told(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferctl.doctor.models.left_for_process", lambda _: 10_000)
    line = found(models)["shared memory"]
    assert line.status == "warn"
    assert "limits.memory_bytes" in line.fix


def test_how_far_it_is_is_told_in_bytes(models: Path) -> None:
    told: list[tuple[int, int]] = []
    own = Settings(models_dir=str(models))
    heard = model_findings(
        own,
        27,
        by_hash=True,
        is_named=True,
        on_bytes=lambda done, whole: told.append((done, whole)),
    )
    assert list(heard)
    sizes = [file.stat().st_size for file in models.rglob(GRAPH_FILE)]
    assert told == [(sizes[0] * n, sum(sizes)) for n in (1, 2, 3)]
