"""A pickled module is refused, unless the person says in so many words whom they trust."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import pytest
import torch

from inferctl.errors import CheckpointError, UntrustedCheckpoint, UsageError
from inferctl.export import export_bundle
from inferctl.export.checkpoint import TRUST_FLAG

from . import kinds
from .conftest import MakeRequest, factory, save_torch


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    return save_torch(kinds.classifier(), tmp_path / "whole.pt")


@pytest.mark.row(177)
@pytest.mark.parametrize("spec", [None, factory("classifier")])
def test_a_pickled_module_is_refused_with_its_classes(
    classify: MakeRequest, pickled: Path, spec: str | None
) -> None:
    with pytest.raises(UntrustedCheckpoint) as caught:
        export_bundle(classify(checkpoint=pickled, factory=spec))
    text = str(caught.value)
    assert "would import and call tests.export.tinymodels.Classifier, torch.nn.modules" in text
    assert TRUST_FLAG in text
    assert "\n" not in text


@pytest.mark.parametrize("legacy", [False, True])
def test_a_trusted_module_is_exported_and_its_author_noted(
    classify: MakeRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str], legacy: bool
) -> None:
    path = tmp_path / "whole.pt"
    torch.save(kinds.classifier(), path, _use_new_zipfile_serialization=not legacy)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    result = export_bundle(classify(checkpoint=path, factory=None, trust_pickle=True))

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"inferctl: trusting the author of {path} (sha256 {sha256}) to run ")
    assert "tests.export.tinymodels.Classifier" in line
    report = json.loads((result.path / "report.json").read_bytes())
    (note,) = report["checkpoint"]["notes"]
    assert note.startswith(f"unpickled by {TRUST_FLAG}, trusting its author (sha256 {sha256})")
    assert str(tmp_path) not in note


def test_trust_is_said_before_anything_runs(
    classify: MakeRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_torch({"module": Shouting()}, tmp_path / "loud.pt")
    with pytest.raises(CheckpointError, match="cannot be unpickled: RuntimeError: I ran"):
        export_bundle(classify(checkpoint=path, factory=None, trust_pickle=True))
    assert "trusting the author" in capsys.readouterr().err


def shout() -> None:
    raise RuntimeError("I ran")


class Shouting:
    def __reduce__(self) -> tuple[object, ...]:
        return shout, ()


def test_weights_beside_other_objects_go_into_the_factory(
    classify: MakeRequest, tmp_path: Path
) -> None:
    content = {"state_dict": kinds.classifier().state_dict(), "args": argparse.Namespace(lr=1)}
    path = save_torch(content, tmp_path / "run.pt")
    request = classify(checkpoint=path, factory=factory("classifier"), trust_pickle=True)
    notes = export_bundle(request).loaded.notes
    assert "argparse.Namespace" in notes[0]
    assert "weights taken from 'state_dict'" in notes


@pytest.mark.parametrize("kind", ["torch", "legacy", "safetensors", "shards", "scripted"])
def test_nobody_is_trusted_without_need(classify: MakeRequest, tmp_path: Path, kind: str) -> None:
    request = classify(checkpoint=kinds.save(kind, tmp_path), trust_pickle=True)
    with pytest.raises(UsageError, match=rf"loads without trusting .*{TRUST_FLAG}.*leave it out"):
        export_bundle(request)


def test_a_hugging_face_folder_needs_no_trust(classify: MakeRequest, store: Path) -> None:
    request = classify(checkpoint=store / "bert", factory=None, trust_pickle=True)
    with pytest.raises(UsageError, match="loads without trusting anybody"):
        export_bundle(request)


def test_a_trusted_module_takes_no_factory(classify: MakeRequest, pickled: Path) -> None:
    with pytest.raises(UsageError, match=r"brings its own model .*leave --factory out"):
        export_bundle(classify(checkpoint=pickled, trust_pickle=True))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"args": argparse.Namespace()}, "it holds a dict, not an nn.Module .*pass --factory"),
        (argparse.Namespace(), "it holds a Namespace, not an nn.Module"),
    ],
)
def test_a_trusted_file_without_a_module_is_refused(
    classify: MakeRequest, tmp_path: Path, content: object, text: str
) -> None:
    path = save_torch(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=text):
        export_bundle(classify(checkpoint=path, factory=None, trust_pickle=True))
