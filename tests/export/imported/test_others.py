"""Classifiers of pictures and texts, and graphs of bare tensors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

from inferctl.bundles.manifest import GRAPH_FILE
from inferctl.bundles.repository import open_bundle
from inferctl.check import CheckRequest, check_bundle
from inferctl.errors import InferctlError
from inferctl.export.finish import ExportResult
from inferctl.export.imported.pipeline import import_bundle
from inferctl.export.imported.request import ImportRequest
from tests.export.conftest import write_tokenizer

from . import graphs
from .conftest import Import

LABELS = ("red", "green", "blue")
CLASSIFY = {"task": "image-classification", "labels": LABELS}


def scores(result: ExportResult, pictures: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        result.path / GRAPH_FILE, providers=["CPUExecutionProvider"]
    )
    answer: np.ndarray = session.run(["scores"], {"image": pictures})[0]
    return answer


def colours(*values: tuple[int, int, int]) -> np.ndarray:
    return np.array(values, np.uint8)[:, None, None].repeat(graphs.SIDE, 1).repeat(graphs.SIDE, 2)


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values)
    return powers / powers.sum(axis=1, keepdims=True)


PICTURES = colours((255, 0, 0), (0, 204, 102), (51, 51, 51))
MEANS = np.array([[1, 0, 0], [0, 0.8, 0.4], [0.2, 0.2, 0.2]])


@pytest.mark.parametrize("batch", [1, "batch"])
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_a_classifier_gives_probabilities_whatever_it_gave(
    imported: Import, batch: int | str, kind: str
) -> None:
    result = imported(graphs.classifier(batch, kind=kind), **CLASSIFY)
    np.testing.assert_allclose(scores(result, PICTURES), softmax(MEANS * 10), atol=1e-5)
    assert any(kind in note for note in result.loaded.notes)
    assert result.manifest.image is not None
    assert result.manifest.image.resize == "stretch"


def test_pixels_are_normalised_in_the_graph(imported: Import) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.25, 0.5, 1.0)
    result = imported(graphs.classifier(), **CLASSIFY, mean=mean, std=std)
    expected = softmax((MEANS - mean) / std * 10)
    np.testing.assert_allclose(scores(result, PICTURES), expected, atol=1e-5)


def test_a_scale_is_what_white_is_before_the_mean(imported: Import) -> None:
    result = imported(graphs.classifier(), **CLASSIFY, scale=255.0, mean=(51,) * 3, std=(510,) * 3)
    expected = softmax((MEANS * 255 - 51) / 510 * 10)
    np.testing.assert_allclose(scores(result, PICTURES), expected, atol=1e-5)


def test_bytes_are_fed_as_they_are(imported: Import) -> None:
    result = imported(graphs.byte_classifier(), **CLASSIFY)
    np.testing.assert_allclose(scores(result, PICTURES), softmax(MEANS * 10), atol=1e-5)
    with pytest.raises(InferctlError, match="uint8 pixels as they are"):
        imported(graphs.byte_classifier(), **CLASSIFY, mean=(0.5,) * 3)


@pytest.mark.parametrize(
    ("size", "resize", "short_side"), [((64, 64), "crop", 64), ((64, 96), "stretch", None)]
)
def test_ultralytics_classifiers_crop_what_is_square(
    imported: Import, size: tuple[int, int], resize: str, short_side: int | None
) -> None:
    metadata = graphs.ultralytics(task="classify", names=dict(enumerate(LABELS)), imgsz=list(size))
    result = imported(
        graphs.classifier("batch", kind="probabilities", side="side", metadata=metadata)
    )
    image = result.manifest.image
    assert image is not None
    assert (image.height, image.width) == size
    assert (image.resize, image.short_side) == (resize, short_side)


def test_settings_of_a_hugging_face_directory_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "colours"
    (folder / "onnx").mkdir(parents=True)
    config = {"model_type": "vit", "id2label": dict(enumerate(LABELS))}
    (folder / "config.json").write_text(json.dumps(config))
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "size": {"height": graphs.SIDE, "width": graphs.SIDE},
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    path = graphs.save(graphs.classifier("batch"), folder / "onnx" / "model.onnx")

    result = import_bundle(
        ImportRequest(path, task="image-classification", output=tmp_path / "models")
    )

    assert (result.manifest.name, result.manifest.labels) == ("colours", LABELS)
    assert result.manifest.image is not None
    assert result.manifest.image.resample == "bicubic"
    np.testing.assert_allclose(
        scores(result, PICTURES), softmax((MEANS - 0.5) / 0.5 * 10), atol=1e-5
    )


def text_folder(folder: Path, kind: int = TensorProto.INT64, *, types: bool = True) -> Path:
    folder.mkdir()
    config = {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {0: "bad", 1: "good"},
        "max_position_embeddings": 24,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder / "tokenizer.json")
    return graphs.save(graphs.reader(kind, types=types), folder / "model.onnx")


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
@pytest.mark.parametrize("types", [True, False])
def test_a_text_classifier_with_its_directory_needs_no_flags(
    tmp_path: Path, kind: int, types: bool
) -> None:
    path = text_folder(tmp_path / "mood", kind, types=types)
    result = import_bundle(ImportRequest(path, output=tmp_path / "models"))

    manifest = result.manifest
    assert (manifest.name, manifest.task) == ("mood", "text-classification")
    assert manifest.labels == ("bad", "good")
    assert manifest.text is not None
    assert manifest.text.max_tokens == 24
    assert [tensor.name for tensor in manifest.inputs] == ["input_ids", "attention_mask"]
    assert {check.against for check in result.checks} == {
        "the imported file",
        "each row alone",
        "each row unpadded",
    }
    assert not check_bundle(CheckRequest(result.path)).failed


def test_a_text_model_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    path = text_folder(tmp_path / "mood")
    (path.parent / "tokenizer.json").unlink()
    with pytest.raises(InferctlError, match=r"needs its tokenizer.*pass its tokenizer.json"):
        import_bundle(ImportRequest(path, output=tmp_path / "models"))


@pytest.mark.parametrize("batch", [1, "n"])
def test_bare_tensors_keep_their_names(imported: Import, batch: int | str) -> None:
    result = imported(graphs.sums(batch), task="tensor")
    names = [[tensor.name for tensor in result.manifest.inputs]]
    names.append([tensor.name for tensor in result.manifest.outputs])
    assert names == [["a", "b"], ["Add_0_0", "Mul_1_0"]]
    assert {tensor.shape for tensor in result.manifest.outputs} == {("rows", 4)}
    assert open_bundle(result.path).manifest.labels == ()
    assert not check_bundle(CheckRequest(result.path)).failed


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, r"does not say what it predicts \(--task\)"),
        ({"task": "image-classification"}, r"no label names \(--labels\)"),
        ({"task": "image-classification", "labels": ("a",)}, "1 labels are named"),
        ({"task": "text-classification", "labels": LABELS}, "its inputs are images, and a text"),
        ({"task": "image-detection", "labels": LABELS}, "detector's is one of three axes"),
        ({"task": "tensor", "labels": LABELS}, "tensor has no use for it .--labels"),
        ({"task": "tensor", "precision": "int8"}, "of bare tensors"),
        ({**CLASSIFY, "iou": 0.5}, "image-classification has no use for it .--iou"),
        ({**CLASSIFY, "resize": "crop", "short_side": 9}, "short_side must not be smaller"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    imported: Import, tmp_path: Path, parts: dict[str, object], text: str
) -> None:
    with pytest.raises(InferctlError, match=text) as caught:
        imported(graphs.classifier(), **parts)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "models").exists()


def test_scores_that_do_not_exclude_each_other_are_no_classifier(imported: Import) -> None:
    with pytest.raises(InferctlError, match=r"independent scores .* --task tensor"):
        imported(graphs.classifier(kind="sigmoid"), **CLASSIFY)


def test_a_free_size_must_be_named(imported: Import) -> None:
    with pytest.raises(InferctlError, match="pass the size it was trained with"):
        imported(graphs.classifier("batch", side="side"), **CLASSIFY)


def test_more_rows_than_one_are_not_taken_for_free(imported: Import) -> None:
    with pytest.raises(InferctlError, match=r"takes 4 rows, no more and no fewer.*dynamic=True"):
        imported(graphs.classifier(4), **CLASSIFY)
