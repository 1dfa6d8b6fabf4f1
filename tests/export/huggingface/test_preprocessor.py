"""Pixels made by the manifest's rules are those that transformers' own processors make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers as hf
from PIL import Image

from inferctl.bundles.manifest import ImageInput
from inferctl.errors import CheckpointError
from inferctl.export import ExportRequest
from inferctl.export.huggingface.config import Directory
from inferctl.export.huggingface.preprocessor import DEFAULTS, Preprocessor, read_preprocessor
from inferctl.tasks.decode import decode_image
from tests.tasks.pictures import encoded, photo

ANY_SIZE = 10**9
PICTURES = [(90, 60), (61, 97), (20, 15), (300, 40)]
PROCESSORS = {
    "stretched": hf.ViTImageProcessorPil(size={"height": 24, "width": 32}),
    "bicubic": hf.ViTImageProcessorPil(size={"height": 24, "width": 32}, resample=3),
    "lanczos": hf.ViTImageProcessorPil(size={"height": 24, "width": 32}, resample=1),
    "nearest": hf.ViTImageProcessorPil(size={"height": 24, "width": 32}, resample=0),
    "doubled range": hf.ViTImageProcessorPil(size=[32, 32], rescale_factor=1 / 127.5),
    "not rescaled": hf.ViTImageProcessorPil(
        size=32, do_rescale=False, image_mean=[120.0, 110.0, 100.0], image_std=[50.0, 60.0, 70.0]
    ),
    "not normalised": hf.ViTImageProcessorPil(size=32, do_normalize=False),
    "neither": hf.ViTImageProcessorPil(size=32, do_normalize=False, do_rescale=False),
    "cropped square": hf.DeiTImageProcessorPil(size=36, crop_size=32),
    "cropped": hf.BitImageProcessorPil(size={"shortest_edge": 36}, crop_size=32),
    "cropped oblong": hf.CLIPImageProcessorPil(
        size={"shortest_edge": 36}, crop_size={"height": 30, "width": 20}
    ),
    "convnext": hf.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875),
    "convnext of 384": hf.ConvNextImageProcessorPil(),
}


def preprocessor(folder: Path, **settings: object) -> Preprocessor:
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return read_preprocessor(Directory(folder, {}, ExportRequest(folder)))


def saved(processor: Any, folder: Path) -> Preprocessor:
    processor.save_pretrained(folder)
    return read_preprocessor(Directory(folder, {}, ExportRequest(folder)))


@pytest.mark.parametrize("size", PICTURES)
@pytest.mark.parametrize("name", PROCESSORS)
def test_pixels_are_those_of_transformers(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    """To one level of 255: only the part that is kept is resized, which rounds otherwise."""
    read = saved(PROCESSORS[name], tmp_path)
    mean, std = map(np.array, read.normalisation())
    picture = photo(*size)

    expected = PROCESSORS[name](picture, return_tensors="np")["pixel_values"][0]
    image = read.classifier_input()
    array = decode_image(encoded(picture, "PNG"), image, ANY_SIZE, "exact").array
    pixels = ((array / 255 - mean) / std).transpose(2, 0, 1)

    assert pixels.shape == expected.shape
    one_level = 1 / (255 * std[:, None, None])
    assert (abs(pixels - expected) <= one_level * 1.001).all()


@pytest.mark.parametrize("family", DEFAULTS)
def test_the_defaults_are_those_of_transformers(family: str) -> None:
    """A file may say nothing but its processor's name."""
    processor = getattr(hf, f"{family}ImageProcessorPil")()
    own, sure = DEFAULTS[family], Preprocessor(family, DEFAULTS[family], "")
    for name in ("image_mean", "image_std", "resample", "crop_pct"):
        theirs = getattr(processor, name, None)
        assert own.get(name) == (list(theirs) if isinstance(theirs, tuple) else theirs), name
    for name in ("do_normalize", "do_center_crop"):
        assert own.get(name, name == "do_normalize") == bool(getattr(processor, name)), name
    for name in ("size", "crop_size"):
        theirs = getattr(processor, name)
        assert own.get(name) is theirs is None or sure._size(name) == {
            key: side for key, side in dict(theirs).items() if side is not None
        }, name


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"feature_extractor_type": "ViTFeatureExtractor", "size": 224, "resample": 2},
            ImageInput(height=224, width=224),
        ),
        (
            {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875},
            ImageInput(height=224, width=224, resize="crop", short_side=256, resample="bicubic"),
        ),
        (
            {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}},
            ImageInput(height=384, width=384, resample="bicubic"),
        ),
        (
            {"feature_extractor_type": "DeiTFeatureExtractor", "size": 256, "crop_size": 224},
            ImageInput(
                height=224, width=224, resize="stretch-crop", short_side=256, resample="bicubic"
            ),
        ),
        (
            {"image_processor_type": "ViTImageProcessorFast", "size": [192, 160], "resample": 1},
            ImageInput(height=192, width=160, resample="lanczos"),
        ),
        (
            {"image_processor_type": "DeiTImageProcessor", "size": 224, "crop_size": 224},
            ImageInput(height=224, width=224, resample="bicubic"),
        ),
    ],
)
def test_files_of_every_age_are_read(
    settings: dict[str, object], expected: ImageInput, tmp_path: Path
) -> None:
    assert preprocessor(tmp_path, **settings).classifier_input() == expected


def test_a_processor_s_file_may_hold_the_settings_inside(tmp_path: Path) -> None:
    settings = {"image_processor_type": "ViTImageProcessor", "size": 96}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    read = preprocessor(tmp_path, image_processor_type="ViTImageProcessor", size=48)
    assert read.classifier_input().height == 96

    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "Other"}))
    read = read_preprocessor(Directory(tmp_path, {}, ExportRequest(tmp_path)))
    assert read.classifier_input().height == 48


def everything_read(folder: Path, settings: dict[str, object]) -> tuple[object, object]:
    read = preprocessor(folder, **settings)
    return read.classifier_input(), read.normalisation()


VIT = {"image_processor_type": "ViTImageProcessor"}
CROPPED = {"image_processor_type": "BitImageProcessor"}
CONVNEXT = {"image_processor_type": "ConvNextImageProcessor"}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "its image processor is not named, and known are those of ViT"),
        ({"image_processor_type": "MobileViTImageProcessor"}, "is MobileViTImageProcessor"),
        ({"image_processor_type": "DetrImageProcessor"}, "prepared for a detector"),
        ({**VIT, "do_resize": False}, "not resized"),
        ({**VIT, "do_pad": True, "pad_size": {"height": 9, "width": 9}}, "padded to a size"),
        ({**VIT, "do_flip_channel_order": True}, "step do_flip_channel_order is not known"),
        ({**VIT, "resample": 4}, "resample 4 is none of 0 nearest, 1 lanczos, 2 bilinear"),
        ({**VIT, "resample": "cubic"}, "resample 'cubic' is none of"),
        ({**VIT, "size": "large"}, "size 'large' is not a size"),
        ({**VIT, "size": {"max_height": 3, "max_width": 4}}, "is not a size"),
        ({**VIT, "size": {"height": 3.5, "width": 4}}, "is not a size"),
        ({**VIT, "size": True}, "size True is not a size"),
        ({**VIT, "size": {"height": 99_999, "width": 4}}, "sizes do not fit: height"),
        ({**VIT, "size": {"shortest_edge": 9}}, "keep their aspect ratio"),
        ({**VIT, "size": [9, 8], "do_center_crop": True, "crop_size": 7}, "neither square nor"),
        ({**CROPPED, "do_center_crop": False}, "keep their aspect ratio"),
        ({**CROPPED, "crop_size": {"shortest_edge": 3}}, "sizes do not fit: height"),
        ({**CROPPED, "size": {"shortest_edge": 200}}, "short_side must not be smaller"),
        ({**CONVNEXT, "size": {"height": 8, "width": 8}}, "has a shortest_edge"),
        ({**CONVNEXT, "do_center_crop": True}, "no crop of its own"),
        ({**CONVNEXT, "size": 224, "crop_pct": 0}, "crop_pct must be"),
        ({**CONVNEXT, "size": 224, "crop_pct": "all"}, "crop_pct must be"),
        ({**VIT, "image_mean": [0.5]}, "image_mean must be three numbers"),
        ({**VIT, "image_mean": ["a", "b", "c"]}, "image_mean must be three numbers"),
        ({**VIT, "image_std": [0.5, 0, 0.5]}, "image_std must be numbers above 0"),
        ({**VIT, "rescale_factor": 0}, "rescale_factor .* above 0"),
        ({**VIT, "rescale_factor": "1/255"}, "rescale_factor .* above 0"),
    ],
)
def test_what_a_server_could_not_repeat_is_refused_on_one_line(
    settings: dict[str, object], text: str, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=text) as caught:
        everything_read(tmp_path, settings)
    assert "\n" not in str(caught.value)
    assert "--factory" in caught.value.hint
    assert caught.value.where == str(tmp_path / "preprocessor_config.json")


def test_a_directory_that_does_not_say_how_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json is missing"):
        read_preprocessor(Directory(tmp_path, {}, ExportRequest(tmp_path)))


def test_one_number_is_that_of_every_channel(tmp_path: Path) -> None:
    read = preprocessor(tmp_path, **VIT, image_mean=0.25, image_std=0.5)
    assert read.normalisation() == ((0.25,) * 3, (0.5,) * 3)


def detector(folder: Path, name: str, **settings: object) -> Preprocessor:
    return preprocessor(folder, image_processor_type=f"{name}ImageProcessor", **settings)


@pytest.mark.parametrize(
    ("name", "settings", "side"),
    [
        ("Detr", {}, 800),
        ("Detr", {"size": 600, "max_size": 1000}, 600),
        ("Yolos", {"size": {"shortest_edge": 520, "longest_edge": 900}}, 512),
        ("RTDetr", {"size": {"shortest_edge": 500}}, 500),
    ],
)
def test_a_detector_of_any_ratio_gets_a_square_and_says_so(
    name: str, settings: dict[str, object], side: int, tmp_path: Path
) -> None:
    image, (note,) = detector(tmp_path, name, **settings).detector_input()
    assert image == ImageInput(height=side, width=side)
    assert f"stretched to {side} x {side}" in note
    assert "aspect ratio" in note


def test_a_detector_of_one_size_keeps_it(tmp_path: Path) -> None:
    read = detector(tmp_path, "RTDetr", size={"height": 480, "width": 640})
    assert read.detector_input() == (ImageInput(height=480, width=640), ())
    assert read.normalisation() == ((0.0,) * 3, (1.0,) * 3)


def test_a_classifier_s_pictures_are_not_a_detector_s(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"not prepared for a detector \(ViT\)"):
        preprocessor(tmp_path, **VIT).detector_input()


def test_a_picture_of_the_tests_has_something_to_lose() -> None:
    """A plain one would agree with any recipe."""
    assert all(np.asarray(photo(*size)).std() > 30 for size in PICTURES)
    assert isinstance(photo(2, 2), Image.Image)
