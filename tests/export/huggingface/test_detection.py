"""What a detector's bundle promises, and which exporter drew its graph."""

from __future__ import annotations

import pytest

from inferctl.bundles.manifest import ImageInput, Tensor
from inferctl.errors import CheckpointError, UsageError
from inferctl.export import ExportRequest
from inferctl.export.huggingface.directory import load_huggingface

from ..conftest import Exported, Saved
from .families import DETECTORS, edit_config, usual

DETECTIONS = {"yolos": 10, "detr": 8, "rt-detr": 40, "rt-detr-v2": 40}


@pytest.mark.parametrize("family", usual(DETECTORS))
def test_the_bundle_keeps_the_contract_of_detectors(exported: Exported, family: str) -> None:
    manifest, k = exported(family).manifest, DETECTIONS[family]
    assert manifest.image == ImageInput(height=64, width=64)
    assert manifest.outputs == (
        Tensor(name="boxes", dtype="float32", shape=("rows", k, 4)),
        Tensor(name="scores", dtype="float32", shape=("rows", k)),
        Tensor(name="labels", dtype="int64", shape=("rows", k)),
    )


def test_another_size_can_be_asked_for(copied: Saved) -> None:
    edges = {"shortest_edge": 48, "longest_edge": 90}
    folder = edit_config(copied("yolos"), "preprocessor_config.json", size=edges)
    loaded = load_huggingface(ExportRequest(folder))
    assert loaded.image == ImageInput(height=48, width=48)
    assert "aspect ratio" in loaded.notes[0]

    asked = load_huggingface(ExportRequest(folder, image_size=(48, 80)))
    assert asked.image == ImageInput(height=48, width=80)
    assert asked.notes == ("pictures are stretched to 48 x 80, as --image-size says",)


def test_labels_that_do_not_match_the_model_s_classes_are_refused(saved: Saved) -> None:
    with pytest.raises(UsageError, match=r"4 classes apart, 2 are named .--labels"):
        load_huggingface(ExportRequest(saved("yolos"), labels=("cat", "dog")))


def test_a_backbone_that_needs_another_package_says_so(copied: Saved) -> None:
    backbone = {"model_type": "timm_backbone", "backbone": "resnet18"}
    folder = edit_config(copied("detr"), backbone_config=backbone)
    with pytest.raises(CheckpointError, match=r"transformers cannot load it: .*timm") as caught:
        load_huggingface(ExportRequest(folder))
    assert "\n" not in str(caught.value)
