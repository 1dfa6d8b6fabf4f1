"""Detectors of every head: the objects of known pictures, each picture its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from inferctl.bundles.manifest import GRAPH_FILE
from inferctl.errors import InferctlError, UsageError, VerificationError
from inferctl.export.finish import ExportResult
from inferctl.export.imported import choosing
from inferctl.export.imported.heads import recognise

from . import graphs
from .conftest import Import

Found = set[tuple[str, tuple[float, ...]]]

HEADS: dict[str, Callable[..., onnx.ModelProto]] = {
    "yolov8": graphs.yolov8,
    "yolov5": graphs.yolov5,
    "end-to-end": graphs.end_to_end,
}
PICTURES: dict[str, list[tuple[str, tuple[int, int, int, int]]]] = {
    "two": [("red", (8, 8, 16, 16)), ("green", (40, 48, 48, 56))],
    "none": [],
    "one": [("green", (0, 0, 8, 8))],
    "neighbours": [("red", (8, 8, 16, 16)), ("red", (16, 8, 24, 16)), ("green", (8, 16, 16, 24))],
}


def run(result: ExportResult, pictures: list[np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(
        result.path / GRAPH_FILE, providers=["CPUExecutionProvider"]
    )
    names = [tensor.name for tensor in result.manifest.outputs]
    return dict(zip(names, session.run(names, {"image": np.stack(pictures)}), strict=True))


def found(answers: dict[str, np.ndarray], row: int) -> Found:
    """The confident detections of a row, boxes in pixels of the input."""
    return {
        (graphs.LABELS[label], tuple(float(side) for side in (box * graphs.SIDE).round(3)))
        for box, score, label in zip(
            *(answers[name][row] for name in ("boxes", "scores", "labels")), strict=True
        )
        if score > 0.5
    }


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("batch", [1, "batch"])
def test_every_picture_of_a_batch_gets_its_own_objects_once(
    imported: Import, head: str, batch: int | str
) -> None:
    parts = {"image_size": (graphs.SIDE,) * 2} if batch == "batch" else {}
    result = imported(HEADS[head](batch), **parts)
    side = graphs.SIDE
    pictures = [graphs.picture(side, side, *cells) for cells in PICTURES.values()]

    answers = run(result, pictures)

    for row, cells in enumerate(PICTURES.values()):
        assert found(answers, row) == {(label, box) for label, box in cells}, row
        # Each was proposed twice; the copy is gone, and what is left over is nothing at all.
        assert (answers["scores"][row] > 0).sum() == len(cells)
        empty = answers["scores"][row] == 0
        assert not answers["boxes"][row][empty].any()
        assert not answers["labels"][row][empty].any()
    assert any(head in note for note in result.loaded.notes)
    assert any("freed" in note for note in result.loaded.notes) == (batch == 1)


def test_the_file_s_metadata_become_the_manifest(imported: Import) -> None:
    result = imported(graphs.yolov8())
    image = result.manifest.image
    assert (result.manifest.task, result.manifest.labels) == ("image-detection", graphs.LABELS)
    assert image is not None
    assert (image.height, image.width, image.resize, image.pad) == (64, 64, "letterbox", 114)
    assert result.manifest.outputs[0].shape == ("rows", graphs.BOXES, 4)
    assert any("AGPL-3.0" in note for note in result.loaded.notes)


def test_flags_go_before_metadata(imported: Import) -> None:
    result = imported(
        graphs.yolov8(), labels=("rot", "grün"), resize="stretch", max_detections=5, iou=0.95
    )
    assert result.manifest.labels == ("rot", "grün")
    assert result.manifest.image is not None
    assert result.manifest.image.resize == "stretch"
    assert result.manifest.outputs[1].shape == ("rows", 5)
    pictures = [graphs.picture(graphs.SIDE, graphs.SIDE, ("red", (8, 8, 16, 16)))]
    # Boxes that overlap by 0.88 are two now.
    assert (run(result, pictures)["scores"] > 0.5).sum() == 2


def test_a_file_in_half_precision_is_taken_in_its_own_types(imported: Import) -> None:
    result = imported(graphs.yolov8(kind=TensorProto.FLOAT16))
    assert [tensor.dtype for tensor in result.manifest.outputs] == ["float32", "float32", "int64"]
    pictures = [graphs.picture(graphs.SIDE, graphs.SIDE, ("red", (8, 8, 16, 16)))] * 2
    assert found(run(result, pictures), 1) == {("red", (8.0, 8.0, 16.0, 16.0))}


def test_a_graph_that_answers_the_first_row_alone_is_caught(imported: Import) -> None:
    with pytest.raises(VerificationError, match=r"\(sample 2 pictures, against the imported file"):
        imported(graphs.first_row_only())


def test_a_batch_that_cannot_be_freed_is_refused_with_what_to_do(imported: Import) -> None:
    with pytest.raises(VerificationError, match=r"fixed at 1 and cannot be freed.*dynamic=True"):
        imported(graphs.unfreeable())


def test_rows_that_are_read_as_one_picture_s_are_caught(
    imported: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ultralytics#21188, planted: what is kept is laid back on the first picture."""
    real = choosing.Nodes.constant
    monkeypatch.setattr(
        choosing.Nodes,
        "constant",
        lambda self, values, *dtype: (
            real(self, [1, 2] if values == [0, 2] else values, *dtype)
            if isinstance(values, list)
            else real(self, values, *dtype)
        ),
    )
    with pytest.raises(VerificationError, match="against the imported file"):
        imported(graphs.yolov8("batch"))


@pytest.mark.parametrize(
    ("shape", "labels", "head"),
    [
        ((1, 84, 8400), 80, "yolov8"),
        ((1, 5, 8400), 1, "yolov8"),
        ((1, 25200, 85), 80, "yolov5"),
        ((1, 25200, 6), 1, "yolov5"),
        ((1, 300, 6), 80, "end-to-end"),
        ((1, 300, 6), 1, "end-to-end"),
    ],
)
def test_a_head_is_known_by_its_shape(shape: tuple[int, ...], labels: int, head: str) -> None:
    size = (640, 640)
    assert recognise(shape, labels, size, asked=None, end_to_end=False, where="x") == head


def test_metadata_and_flags_decide_what_the_shape_does_not() -> None:
    shape, size = (1, 25200, 6), (640, 640)
    assert recognise(shape, 1, size, asked=None, end_to_end=True, where="x") == "end-to-end"
    assert recognise(shape, 1, size, asked="end-to-end", end_to_end=False, where="x") != "yolov5"
    with pytest.raises(UsageError, match="is no yolov8 that is known for 1 labels"):
        recognise(shape, 1, size, asked="yolov8", end_to_end=False, where="x")


@pytest.mark.parametrize(
    ("parts", "metadata", "text"),
    [
        (
            {"labels": ("cat",)},
            {},
            r"\[1, 6, 128\] is no head .* for 1 labels.*--labels",
        ),
        ({"image_size": (32, 32)}, {}, "the file's input is fixed at 64 x 64"),
        ({"task": "image-classification"}, {}, "the file says that it is for image-detection"),
        ({"tokenizer": "tokenizer.json"}, {}, "image-detection has no use for it .--tokenizer"),
        ({"resize": "crop", "short_side": 64}, {}, "needs the whole image"),
        ({}, {"task": "segment"}, "its task is segment"),
        ({}, {"channels": 1}, "takes pictures of 1 channels"),
    ],
)
def test_what_does_not_fit_is_one_line_with_what_to_do(
    imported: Import, parts: dict[str, object], metadata: dict[str, object], text: str
) -> None:
    with pytest.raises(InferctlError, match=text) as caught:
        imported(graphs.yolov8(**metadata), **parts)
    assert "\n" not in str(caught.value)


def test_boxes_in_parts_of_the_picture_are_refused(imported: Import) -> None:
    model = graphs.yolov8()
    for tensor in model.graph.initializer:
        if list(tensor.dims) == [1, 4, graphs.BOXES]:
            values = onnx.numpy_helper.to_array(tensor) / graphs.SIDE
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    with pytest.raises(InferctlError, match="must be in pixels"):
        imported(model)


def test_what_is_not_finite_is_not_published(imported: Import) -> None:
    model = graphs.yolov8()
    for tensor in model.graph.initializer:
        if not tensor.dims and onnx.numpy_helper.to_array(tensor) == np.float32(0.9):
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.float32(np.inf), tensor.name))
    with pytest.raises(VerificationError, match="output0 holds NaN or infinity"):
        imported(model)
