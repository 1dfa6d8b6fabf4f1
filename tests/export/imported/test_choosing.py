"""What the appended nodes keep of proposals, picture by picture and label by label."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from inferctl.export.imported.choosing import add_detections, offsets
from inferctl.export.imported.expected import detections
from inferctl.export.imported.heads import Detector
from inferctl.export.imported.nodes import OURS, Nodes
from inferctl.export.imported.source import OLDEST_OPSET

NAMES = ("boxes", "scores", "labels")
# x, y, width, height in pixels, label, score
Proposal = tuple[float, float, float, float, int, float]


def detector(proposals: int, labels: int = 2, kept: int = 4) -> Detector:
    return Detector("yolov8", "raw", proposals, labels, (100, 200), proposals, kept, 0.7)


def run(raw: np.ndarray, to: Detector, opset: int = 17) -> dict[str, np.ndarray]:
    nodes = Nodes()
    add_detections(nodes, to)
    kinds = zip(NAMES, (TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT64), strict=True)
    outputs = [helper.make_tensor_value_info(OURS + name, kind, None) for name, kind in kinds]
    value = helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["rows", *raw.shape[1:]])
    graph = helper.make_graph(nodes.nodes, "net", [value], outputs, nodes.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return dict(zip(NAMES, session.run(None, {"raw": raw}), strict=True))


def rows(*pictures: list[Proposal]) -> np.ndarray:
    raw = np.zeros((len(pictures), 6, len(pictures[0])), np.float32)
    for row, proposals in enumerate(pictures):
        for place, (x, y, width, height, label, score) in enumerate(proposals):
            raw[row, :4, place] = x, y, width, height
            raw[row, 4 + label, place] = score
    return raw


RED, GREEN = 0, 1
FIRST: list[Proposal] = [
    (50, 50, 20, 20, RED, 0.6),
    (50, 50, 20, 20, GREEN, 0.7),  # in the same place, but of another label
    (51, 50, 20, 20, RED, 0.9),  # the first again, and surer
    (150, 50, 20, 20, RED, 0.0),
]
SECOND: list[Proposal] = [
    (50, 50, 20, 20, RED, 0.6),
    (54, 50, 20, 20, RED, 0.5),  # an overlap of two thirds
    (198, 98, 20, 20, GREEN, 0.8),  # over the edge
    (50, 50, 20, 20, RED, 0.4),
]


@pytest.mark.parametrize("opset", [OLDEST_OPSET, 13, 18, 21])
def test_of_one_label_in_one_place_the_surest_is_kept(opset: int) -> None:
    answers = run(rows(FIRST, SECOND), detector(4), opset)
    np.testing.assert_allclose(answers["scores"], [[0.9, 0.7, 0, 0], [0.8, 0.6, 0.5, 0]])
    assert answers["labels"].tolist() == [[RED, GREEN, 0, 0], [GREEN, RED, RED, 0]]
    boxes = [
        [[0.205, 0.4, 0.305, 0.6], [0.2, 0.4, 0.3, 0.6], [0] * 4, [0] * 4],
        [[0.94, 0.88, 1, 1], [0.2, 0.4, 0.3, 0.6], [0.22, 0.4, 0.32, 0.6], [0] * 4],
    ]
    np.testing.assert_allclose(answers["boxes"], boxes, atol=1e-6)


def test_the_best_come_first_and_no_more_than_asked_for() -> None:
    assert run(rows(SECOND), detector(4, kept=2))["scores"].tolist() == [
        pytest.approx([0.8, 0.6], abs=1e-6)
    ]


def test_numpy_chooses_the_same_from_a_crowd() -> None:
    random = np.random.default_rng(2)
    raw = random.random((3, 6, 400)).astype(np.float32)
    raw[:, :2] *= 100
    raw[:, 2:4] = raw[:, 2:4] * 40 + 5
    to = detector(400, kept=50)
    answers = run(raw, to)
    for row in range(3):
        expected = detections(raw[row : row + 1], to, "here")
        for name in NAMES:
            np.testing.assert_allclose(answers[name][row], expected[name][0], atol=1e-6)


@pytest.mark.parametrize("labels", [1, 2, 80, 1203])
def test_boxes_of_different_labels_are_moved_apart_and_stay_exact(labels: int) -> None:
    places = offsets(labels)
    assert len({tuple(place) for place in places.tolist()}) == labels
    assert (places[:, :2] == places[:, 2:]).all()
    # A box as wide as the input on either side of its edge does not reach its neighbours'.
    assert labels == 1 or np.diff(np.unique(places)).min() > 3
    assert np.spacing(places.max()) < 2e-5
