"""What an image classifier's bundle says of its pictures."""

from __future__ import annotations

import pytest

from inferctl.bundles.manifest import ImageInput
from inferctl.errors import CheckpointError
from inferctl.export import ExportRequest, export_bundle
from inferctl.export.huggingface.directory import load_huggingface

from ..conftest import Exported, Saved
from .families import CLASSES, edit_config

CROP = {"height": 32, "width": 32, "resize": "crop", "short_side": 36, "resample": "bicubic"}
INPUTS = {
    "vit": {"height": 32, "width": 32},
    "swin": {"height": 32, "width": 32, "resample": "bicubic"},
    "resnet": CROP,
    "convnext": CROP,
}


@pytest.mark.parametrize("family", INPUTS)
def test_the_manifest_says_how_its_pixels_are_made(exported: Exported, family: str) -> None:
    manifest = exported(family).manifest
    assert manifest.image == ImageInput.model_validate(INPUTS[family])
    assert manifest.labels == tuple(CLASSES.values())
    assert manifest.task == "image-classification"


def test_a_model_of_another_size_than_its_preprocessor_s_is_refused(copied: Saved) -> None:
    size = {"height": 48, "width": 48}
    folder = edit_config(copied("vit"), "preprocessor_config.json", size=size)
    with pytest.raises(CheckpointError, match="does not run: ValueError: Input image size"):
        export_bundle(ExportRequest(folder, output=folder / "models"))


def test_a_scale_other_than_255_is_part_of_the_normalisation(copied: Saved) -> None:
    folder = edit_config(copied("vit"), "preprocessor_config.json", rescale_factor=1 / 127.5)
    loaded = load_huggingface(ExportRequest(folder))
    assert loaded.mean == pytest.approx((0.25,) * 3)
    assert loaded.std == pytest.approx((0.25,) * 3)
