"""One checkpoint, exported twice: whatever differs around it, the bundle is the same."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from inferctl.bundles.manifest import MANIFEST_FILE
from inferctl.export import ExportRequest, ExportResult, export_bundle
from tests.unmeasured import without_coverage

from . import kinds, tinymodels
from .conftest import MakeRequest, factory, requests

REPOSITORY = Path(__file__).parents[2]
REPEAT = """
import sys
from pathlib import Path
from inferctl.export import export_bundle
from tests.export.conftest import requests
from tests.export.test_reproducible import int8
store, output = (Path(argument) for argument in sys.argv[1:])
for request in (*requests(store, output).values(), int8(store, output)):
    export_bundle(request)
"""


def int8(store: Path, output: Path) -> ExportRequest:
    return ExportRequest(
        store / "deep.pt",
        factory=factory("DeepClassifier"),
        task="image-classification",
        labels=("cat", "dog", "owl"),
        image_size=(tinymodels.SIDE, tinymodels.SIDE),
        output=output,
        precision="int8",
    )


@pytest.fixture(scope="module")
def elsewhere(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of `requests`, by another process, in another folder, with other hashes."""
    folder = tmp_path_factory.mktemp("another place")
    copied = shutil.copytree(store, folder / "their checkpoints")
    subprocess.run(
        [sys.executable, "-c", REPEAT, str(copied), "models"],
        cwd=folder,
        env={**without_coverage(), "PYTHONHASHSEED": "4711", "PYTHONPATH": str(REPOSITORY)},
        check=True,
    )
    return folder / "models"


@pytest.mark.parametrize("task", list(requests(Path(), Path())))
def test_another_process_elsewhere_makes_the_same_bundle(
    published: dict[str, ExportResult], elsewhere: Path, task: str
) -> None:
    assert_same(published[task], elsewhere)


def test_another_process_elsewhere_makes_the_same_int8(
    store: Path, elsewhere: Path, tmp_path: Path
) -> None:
    assert_same(export_bundle(int8(store, tmp_path)), elsewhere)


def assert_same(here: ExportResult, models: Path) -> None:
    there = models / here.path.parent.name / here.path.name
    assert {path.name for path in there.iterdir()} == {path.name for path in here.path.iterdir()}
    for name in (MANIFEST_FILE, *here.manifest.files):
        assert (there / name).read_bytes() == (here.path / name).read_bytes(), name


def test_a_checkpoint_of_another_name_makes_the_same_bundle(
    classify: MakeRequest, store: Path, tmp_path: Path
) -> None:
    renamed = shutil.copy(store / "classifier.pt", tmp_path / "epoch-12.bin")
    request = classify(name="same")
    first = export_bundle(request)
    second = export_bundle(replace(request, checkpoint=renamed, output=tmp_path / "again"))
    assert second.manifest == first.manifest


def test_the_manifest_holds_the_hash_of_the_checkpoint(
    published: dict[str, ExportResult], store: Path
) -> None:
    for task, file in (
        ("image-classification", "classifier.pt"),
        ("text-classification", "bert/model.safetensors"),
    ):
        checkpoint = published[task].manifest.checkpoint
        assert checkpoint is not None
        assert checkpoint.sha256 == hashlib.sha256((store / file).read_bytes()).hexdigest()
        assert checkpoint.shards is None


def test_of_shards_the_manifest_holds_each_hash(classify: MakeRequest, tmp_path: Path) -> None:
    folder = kinds.save("shards", tmp_path)
    checkpoint = export_bundle(classify(checkpoint=folder)).manifest.checkpoint
    assert checkpoint is not None
    assert checkpoint.shards == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*.safetensors")
    }
    assert len(checkpoint.shards) == 2
