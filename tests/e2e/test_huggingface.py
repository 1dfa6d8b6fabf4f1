"""Done when: a Hugging Face directory answers over HTTP what transformers answers in Python."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image

from inferctl.export import ExportRequest, export_bundle
from tests.e2e.service import Service
from tests.export.huggingface.families import CLASSES, build, save
from tests.tasks.pictures import encoded, photo

pytestmark = pytest.mark.e2e


def test_an_image_classifier_gives_transformers_label_and_score(tmp_path: Path) -> None:
    """ConvNeXt: the server resizes the shorter side and crops, as the preprocessor's file says."""
    data = encoded(photo(120, 80), "JPEG")
    model, processor = build("convnext")
    with torch.no_grad(), Image.open(io.BytesIO(data)) as picture:
        scores = model(**processor(picture, return_tensors="pt")).logits.softmax(-1)[0]

    folder = save("convnext", tmp_path / "convnext")
    export_bundle(ExportRequest(folder, output=tmp_path / "models"))
    service = Service(
        [str(tmp_path / "models"), "--port", "0", "--set", "runtime.decode=exact"], tmp_path
    )
    try:
        service.wait_until_ready()
        answer = service.request(
            "/models/convnext/predict", data, {"Content-Type": "image/jpeg"}
        ).json
    finally:
        service.stop()

    assert answer["label"] == CLASSES[int(scores.argmax())]
    assert answer["score"] == pytest.approx(float(scores.max()), abs=5e-3)
