"""Done when: the demo's answers are right, over every way in."""

from __future__ import annotations

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inferctl.demo.metrics import box_iou
from inferctl.demo.samples import NEGATIVE, POSITIVE
from inferctl.demo.scenes import LABELS, Scene, scene_series
from tests.e2e.conftest import Start
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

SEED = 424_242


def jpeg(scene: Scene) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(scene.image).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def image_body(data: bytes) -> dict[str, Any]:
    return {"image_b64": base64.b64encode(data).decode("ascii")}


def overlap_with_own_boxes(detections: list[dict[str, Any]], scene: Scene) -> float:
    """Mean over the scene's objects of the best IoU with a detection of the same label."""
    best = []
    for box, label in zip(scene.boxes, scene.labels, strict=True):
        same = [d["bbox"] for d in detections if d["label"] == LABELS[label]]
        ious = box_iou(np.asarray([box]), np.asarray(same, np.float32)) if same else np.zeros(1)
        best.append(float(ious.max()))
    return float(np.mean(best))


def test_an_image_with_known_shapes_gets_their_boxes_and_labels(service: Service) -> None:
    for scene in scene_series(SEED, 12):
        answer = service.post_json("/models/shapes/predict", image_body(jpeg(scene)))
        assert answer.status == 200
        assert overlap_with_own_boxes(answer.json["detections"], scene) >= 0.5


def test_base64_and_raw_bytes_get_the_same_detections(service: Service) -> None:
    data = jpeg(scene_series(SEED, 1)[0])

    by_json = service.post_json("/models/shapes/predict", image_body(data)).json
    raw = service.request("/models/shapes/predict", data, {"Content-Type": "image/jpeg"}).json

    assert by_json["detections"]
    assert by_json["detections"] == raw["detections"]


def test_a_raw_body_takes_its_options_from_the_query(service: Service) -> None:
    data = jpeg(scene_series(SEED, 1)[0])

    path = "/models/shapes/predict?confidence_threshold=0"
    every_candidate = service.request(path, data, {"Content-Type": "image/jpeg"}).json

    assert len(every_candidate["detections"]) == 32


def test_a_positive_and_a_negative_sentence_get_their_labels(service: Service) -> None:
    for text, label in ((POSITIVE, "positive"), (NEGATIVE, "negative")):
        answer = service.post_json("/models/sentiment/predict", {"text": text}).json
        plain = service.request(
            "/models/sentiment/predict", text.encode(), {"Content-Type": "text/plain"}
        ).json
        assert answer["label"] == plain["label"] == label
        assert answer["score"] == max(answer["scores"].values()) > 0.5


def test_every_answer_carries_an_id_and_its_timings(service: Service) -> None:
    sent = {"Content-Type": "application/json", "X-Request-ID": "my-id.1"}

    answer = service.request("/models/sentiment/predict", b'{"text": "good"}', sent)
    failure = service.request("/models/sentiment/predict", b"{", sent)

    assert answer.headers["x-request-id"] == failure.headers["x-request-id"] == "my-id.1"
    for phase in ("decode", "queue", "inference", "postprocess", "total"):
        assert f"{phase};dur=" in answer.headers["server-timing"]
    assert failure.status == 400
    assert failure.json["code"] == "malformed"


def test_of_32_concurrent_clients_each_gets_the_boxes_of_its_own_image(start: Start) -> None:
    """Swapped rows would put another image's boxes into an answer."""
    service = start("--set", "models.shapes.batching.max_batch_rows=8")
    scenes = scene_series(SEED + 1, 32)
    bodies = [image_body(jpeg(scene)) for scene in scenes]
    alone = [service.post_json("/models/shapes/predict", body).json for body in bodies]
    # The engine counts a batch once it has said that it ran.
    service.wait_for_metric('inference_batch_size_sum{model="shapes"}', 32)
    batches_before = service.metric('inference_batch_size_count{model="shapes"}')
    rows_before = service.metric('inference_batch_size_sum{model="shapes"}')

    def ask_repeatedly(number: int) -> list[Any]:
        return [
            service.post_json("/models/shapes/predict", bodies[number]).json["detections"]
            for _ in range(8)
        ]

    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(ask_repeatedly, range(32)))

    for number, own in enumerate(answers):
        for detections in own:
            assert same_detections(detections, alone[number]["detections"])
    service.wait_for_metric('inference_batch_size_sum{model="shapes"}', rows_before + 32 * 8)
    batches = service.metric('inference_batch_size_count{model="shapes"}') - batches_before
    rows = service.metric('inference_batch_size_sum{model="shapes"}') - rows_before
    assert rows == 32 * 8
    assert rows / batches > 1


def same_detections(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Equal but for the last digits, which may differ with the batch size."""
    return len(one) == len(other) and all(
        a["label"] == b["label"]
        and np.allclose(a["bbox"], b["bbox"], atol=0.05)
        and abs(a["confidence"] - b["confidence"]) < 1e-3
        for a, b in zip(one, other, strict=True)
    )
