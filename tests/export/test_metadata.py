"""What other tools read in our ONNX files."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import onnx
import onnxruntime
import pytest

from inferctl import __version__
from inferctl.export import ExportResult, export_bundle
from inferctl.export.metadata import MANIFEST_KEY

from .conftest import MakeRequest, factory

Published = dict[str, ExportResult]


def properties(path: Path) -> dict[str, str]:
    """As a runtime hands them to whoever asks."""
    session = onnxruntime.InferenceSession(path / "model.onnx", providers=["CPUExecutionProvider"])
    return session.get_modelmeta().custom_metadata_map


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("image-detection", "detect"),
        ("image-classification", "classify"),
        ("text-classification", "text-classification"),
    ],
)
def test_labels_and_task_stand_in_the_file(published: Published, task: str, said: str) -> None:
    result = published[task]
    found = properties(result.path)
    assert ast.literal_eval(found["names"]) == dict(enumerate(result.manifest.labels))
    assert found["task"] == said
    assert found["description"].startswith(f"{result.manifest.name}: {task} into")


@pytest.mark.parametrize(
    "task", ["image-detection", "image-classification", "text-classification", "text-factory"]
)
def test_the_description_is_a_part_of_the_manifest(published: Published, task: str) -> None:
    result = published[task]
    described = json.loads(properties(result.path)[MANIFEST_KEY])
    manifest = result.manifest.model_dump(mode="json", exclude_none=True)
    assert described == {name: manifest[name] for name in described}
    section = "image" if result.manifest.image else "text"
    assert {"name", "task", "inputs", "outputs", "labels", section} == set(described)


def test_pictures_are_described_by_the_standard_keys(published: Published) -> None:
    path = published["image-detection"].path
    found = properties(path)
    assert found["Image.BitmapPixelFormat"] == "Rgb8"
    assert found["Image.ColorSpaceGamma"] == "SRGB"
    assert found["Image.NominalPixelRange"] == "NominalRange_0_255"
    assert (found["imgsz"], found["channels"]) == ("[16, 16]", "3")
    image = onnx.load(path / "model.onnx").graph.input[0].type
    assert image.denotation == "IMAGE"
    assert [dim.denotation for dim in image.tensor_type.shape.dim][::3] == [
        "DATA_BATCH",
        "DATA_CHANNEL",
    ]
    assert "Image.BitmapPixelFormat" not in properties(published["text-factory"].path)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_precision_says_the_same(classify: MakeRequest, store: Path, precision: str) -> None:
    result = export_bundle(
        classify(
            checkpoint=store / "deep.pt",
            factory=factory("DeepClassifier"),
            precision=precision,
            labels=("it's", 'a "cat"', "owl"),
        )
    )
    proto = onnx.load(result.path / "model.onnx")
    assert (proto.producer_name, proto.producer_version) == ("inferctl", __version__)
    assert proto.doc_string.startswith("deep: image-classification into 3 labels")
    assert proto.graph.input[0].type.denotation == "IMAGE"
    found = properties(result.path)
    assert ast.literal_eval(found["names"]) == {0: "it's", 1: 'a "cat"', 2: "owl"}
    assert set(found) == {
        MANIFEST_KEY,
        "names",
        "task",
        "description",
        "imgsz",
        "channels",
        "Image.BitmapPixelFormat",
        "Image.ColorSpaceGamma",
        "Image.NominalPixelRange",
    }
