"""The manifest: what fits, and which field is named when something does not."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inferctl.bundles.manifest import (
    GRAPH_FILE,
    MANIFEST_FILE,
    NAME_PATTERN,
    File,
    Manifest,
    Tensor,
    read_manifest,
)
from inferctl.errors import BundleError
from tests.graphs import MAX_TOKENS, image_fields, image_manifest, text_fields, text_manifest


def tensor_fields(**changes: Any) -> dict[str, Any]:
    """The manifest of a model without preprocessing as JSON would hold it."""
    fields = image_fields(
        task="tensor",
        inputs=[{"name": "input", "dtype": "float32", "shape": ["rows", 4]}],
        labels=[],
    )
    del fields["image"]
    return fields | changes


def write(folder: Path, content: object) -> Path:
    (folder / MANIFEST_FILE).write_text(json.dumps(content))
    return folder


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "image", "dtype": "uint8", "shape": ["rows", 2, 2, 3], **changes}


@pytest.mark.parametrize("fields", [image_fields(), text_fields(), tensor_fields()])
def test_what_was_written_is_read(fields: dict[str, Any], tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path, fields))
    assert manifest.model_dump(mode="json", exclude_unset=True) == fields


@pytest.mark.parametrize("bounds", [[0, 9], [5, 5], [-3, 2**40]])
def test_an_integer_input_may_have_bounds(bounds: list[int]) -> None:
    given = tensor(dtype="int64", bounds=bounds)
    assert Tensor.model_validate(given).bounds == tuple(bounds)


@pytest.mark.parametrize(("dtype", "bounds"), [("float32", [0, 1]), ("int64", [1, 0])])
def test_bounds_are_integers_that_ascend(dtype: str, bounds: list[int]) -> None:
    with pytest.raises(ValidationError, match="bounds are two integers that ascend"):
        Tensor.model_validate(tensor(dtype=dtype, bounds=bounds))


def test_an_image_that_does_not_say_how_it_is_resized_is_stretched(tmp_path: Path) -> None:
    """Manifests of before there was anything else say nothing of it."""
    fields = image_fields(image={"height": 2, "width": 3})
    image = read_manifest(write(tmp_path, fields)).image
    assert image is not None
    assert (image.resize, image.short_side, image.resample) == ("stretch", None, "bilinear")


def test_only_text_has_tokens() -> None:
    assert text_manifest().max_tokens == MAX_TOKENS
    assert image_manifest().max_tokens == 1
    assert Manifest.model_validate(tensor_fields()).max_tokens == 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"format": 2}, "format"),
        ({"name": "Pixels"}, "name"),
        ({"version": 0}, "version"),
        ({"task": "audio"}, "task"),
        ({"precision": "int3"}, "precision"),
        ({"opset": "new"}, "opset"),
        ({"surprise": 1}, "surprise"),
        ({"image": {"height": 0, "width": 2}}, "image.height"),
        ({"image": {"height": 2, "width": 16_385}}, "image.width"),
        ({"image": {"height": 2, "width": 2, "resize": "fit"}}, "image.resize"),
        ({"image": {"height": 2, "width": 2, "resize": "letterbox"}}, "image"),
        ({"image": {"height": 2, "width": 2, "pad": 114}}, "image"),
        ({"image": {"height": 2, "width": 2, "resize": "letterbox", "pad": 256}}, "image.pad"),
        ({"image": {"height": 2, "width": 2, "resample": "hamming"}}, "image.resample"),
        ({"image": {"height": 2, "width": 2, "resize": "crop"}}, "image"),
        ({"image": {"height": 2, "width": 2, "short_side": 2}}, "image"),
        ({"image": {"height": 2, "width": 3, "resize": "crop", "short_side": 2}}, "image"),
        ({"image": {"height": 2, "width": 2, "mean": 0}}, "image.mean"),
        ({"inputs": [tensor(dtype="float64")]}, "inputs.0.dtype"),
        ({"inputs": [tensor(shape=["rows", 0])]}, "inputs.0.shape.1"),
        ({"inputs": [tensor(shape=["rows", "frames"])]}, "inputs.0.shape.1"),
        ({"inputs": [tensor(shape=[])]}, "inputs.0"),
        ({"inputs": [tensor(shape=[2, "rows"])]}, "inputs.0"),
        ({"inputs": [tensor(shape=["rows", "rows"])]}, "inputs.0"),
        ({"outputs": [tensor(shape=["tokens", 2])]}, "outputs.0"),
        ({"buckets": {"rows": []}}, "buckets"),
        ({"buckets": {"rows": [2, 1]}}, "buckets"),
        ({"buckets": {"rows": [1, 1]}}, "buckets"),
        ({"buckets": {"rows": [1], "tokens": [8, 4]}}, "buckets"),
        ({"buckets": {"rows": [0]}}, "buckets.rows.0"),
        ({"files": {GRAPH_FILE: {"bytes": -1, "sha256": "0" * 64}}}, "files.model.onnx.bytes"),
        ({"files": {GRAPH_FILE: {"bytes": 1, "sha256": "0" * 63}}}, "files.model.onnx.sha256"),
        ({"files": {GRAPH_FILE: {"bytes": 1, "sha256": "G" * 64}}}, "files.model.onnx.sha256"),
    ],
)
def test_what_does_not_fit_is_named_on_one_line(
    changes: dict[str, Any], field: str, tmp_path: Path
) -> None:
    write(tmp_path, image_fields(**changes))
    with pytest.raises(BundleError) as caught:
        read_manifest(tmp_path)
    assert re.match(rf"the manifest does not fit: {re.escape(field)}[.:]", caught.value.what)
    assert "\n" not in str(caught.value)
    assert caught.value.where == str(tmp_path / MANIFEST_FILE)
    assert "export" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        (image_fields(image=None), "task image-classification needs its input section"),
        (image_fields(task="image-detection", image=None), "needs its input section"),
        (text_fields(text=None), "task text-classification needs its input section"),
        (
            text_fields(buckets={"rows": [1], "tokens": [4]}),
            "the last tokens bucket must be text.max_tokens",
        ),
        (
            text_fields(buckets={"rows": [1], "tokens": []}),
            "the last tokens bucket must be text.max_tokens",
        ),
        (image_fields(labels=[]), "task image-classification needs labels"),
        (
            image_fields(
                task="image-detection",
                image={"height": 2, "width": 2, "resize": "crop", "short_side": 3},
            ),
            "task image-detection needs the whole image",
        ),
        (text_fields(labels=[]), "task text-classification needs labels"),
        (tensor_fields(image={"height": 2, "width": 2}), "task tensor has no image"),
        (tensor_fields(text=text_fields()["text"]), "task tensor has no image, no text"),
        (tensor_fields(labels=["cat"]), "task tensor has .* no labels"),
        (tensor_fields(buckets={"rows": [1], "tokens": [4]}), "task tensor has .* no tokens"),
        (tensor_fields(inputs=[]), "task tensor needs inputs and outputs"),
        (tensor_fields(outputs=[]), "task tensor needs inputs and outputs"),
        (tensor_fields(inputs=[tensor(), tensor()]), "each with its own name"),
        (tensor_fields(inputs=[tensor(shape=["rows", "tokens"])]), "takes no tokens axis"),
        (tensor_fields(outputs=[tensor(shape=["rows", 2, "tokens"])]), "takes no tokens axis"),
        (tensor_fields(files={}), "files must list model.onnx"),
        (image_fields(files={}), "files must list model.onnx"),
        (text_fields(files=image_fields()["files"]), "files must list tokenizer.json"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(
    fields: dict[str, Any], rule: str, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=f"^the manifest does not fit: manifest: .*{rule}"):
        read_manifest(write(tmp_path, fields))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff"])
def test_what_is_not_a_manifest_at_all_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(BundleError, match=r"^the manifest does not fit: manifest: "):
        read_manifest(tmp_path)


def test_a_field_that_is_missing_is_named(tmp_path: Path) -> None:
    fields = image_fields()
    del fields["producer"]
    with pytest.raises(BundleError, match="fit: producer: Field required"):
        read_manifest(write(tmp_path, fields))


def test_a_folder_without_a_manifest_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^not a bundle: manifest\.json is missing") as caught:
        read_manifest(tmp_path)
    assert caught.value.where == str(tmp_path)


def test_a_manifest_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_FILE).mkdir()
    with pytest.raises(BundleError, match="cannot read the manifest: Is a directory"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("name", ["a", "0", "resnet-18", "v1.2_b", "a" * 64])
def test_names_fit_into_urls_and_labels(name: str) -> None:
    assert re.match(NAME_PATTERN, name)
    assert image_manifest(name=name).name == name


@pytest.mark.parametrize(
    "name", ["", "A", "é", "-a", ".", "..", "_a", "a/b", "a b", "a\n", "a%2e", "a" * 65]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        image_manifest(name=name)


def test_a_manifest_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        image_manifest().version = 2


def test_a_row_has_its_tokens_axis_at_its_longest() -> None:
    hidden = Tensor(name="hidden", dtype="float16", shape=("rows", "tokens", 3))
    assert hidden.row_shape(8) == (8, 3)


def test_a_row_of_one_number_has_no_axes() -> None:
    scalar = Tensor(name="score", dtype="float32", shape=("rows",))
    assert scalar.row_shape(8) == ()


def test_a_file_is_its_size_and_hash(tmp_path: Path) -> None:
    (tmp_path / "graph").write_bytes(b"graph")
    digest = hashlib.sha256(b"graph").hexdigest()
    assert File.of(tmp_path / "graph") == File(bytes=5, sha256=digest)
