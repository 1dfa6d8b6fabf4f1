"""Done when: an imported YOLO export finds over HTTP what is in pictures of any shape."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from inferctl.export.imported.pipeline import import_bundle
from inferctl.export.imported.request import ImportRequest
from tests.e2e.service import Service
from tests.export.imported import graphs
from tests.tasks.pictures import encoded

pytestmark = pytest.mark.e2e

# Twice the input's size or half of it, so that a cell of the detector is whole pixels here.
PICTURES = {
    "landscape": (128, 64, ("red", (16, 0, 32, 16)), ("green", (96, 48, 112, 64))),
    "portrait": (64, 128, ("green", (0, 112, 16, 128)), ("red", (48, 16, 64, 32))),
    "square": (64, 64, ("red", (8, 16, 16, 24))),
    "small": (32, 16, ("green", (28, 12, 32, 16))),
}


def test_boxes_of_letterboxed_pictures_are_those_of_the_pictures_as_sent(tmp_path: Path) -> None:
    path = graphs.save(graphs.yolov8(), tmp_path / "shapes.onnx")
    import_bundle(ImportRequest(path, output=tmp_path / "models"))
    answers = {}
    with Service([str(tmp_path / "models"), "--port", "0"], tmp_path) as service:
        for name, (width, height, *objects) in PICTURES.items():
            data = encoded(Image.fromarray(graphs.picture(width, height, *objects)), "PNG")
            headers = {"Content-Type": "image/png"}
            answers[name] = service.request("/predict", data, headers).json["detections"]

    for name, (_, _, *objects) in PICTURES.items():
        found = {(one["label"], tuple(one["bbox"])) for one in answers[name]}
        assert found == {(label, tuple(map(float, box))) for label, box in objects}, name
