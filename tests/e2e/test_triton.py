"""Triton's stock client gets what it asks for, from a real service."""

from __future__ import annotations

import base64
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from inferctl.demo.samples import NEGATIVE, POSITIVE
from inferctl.demo.scenes import LABELS, scene_series
from tests.e2e.mixture import KINDS, write_mixture
from tests.e2e.service import START_TIMEOUT_S, Service
from tests.e2e.test_predict import image_body, jpeg

pytestmark = pytest.mark.e2e

SIDE = 160


@pytest.fixture(scope="module")
def everything(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's bundles, and one whose tensors are of every dtype."""
    folder = tmp_path_factory.mktemp("everything") / "models"
    shutil.copytree(models, folder)
    write_mixture(folder)
    return folder


@pytest.fixture(scope="module")
def service(everything: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service([str(everything), "--port", "0"], tmp_path_factory.mktemp("triton")) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[InferenceServerClient]:
    address = service.url.removeprefix("http://")
    with InferenceServerClient(address, concurrency=2) as stock:
        yield stock


def tensor(name: str, array: Any, datatype: str, *, binary: bool = True) -> InferInput:
    given = InferInput(name, list(array.shape), datatype)
    return given.set_data_from_numpy(array, binary_data=binary)


def texts(name: str, *pieces: str | bytes, binary: bool = True) -> InferInput:
    return tensor(name, np.array(pieces, np.object_), "BYTES", binary=binary)


def test_health_and_metadata(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("shapes")
    assert client.is_model_ready("shapes", "1")
    assert not client.is_model_ready("shapes", "2")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata("shapes")
    assert metadata["inputs"] == [
        {"name": "image", "datatype": "UINT8", "shape": [-1, SIDE, SIDE, 3]}
    ]
    assert client.get_model_config("sentiment", "1")["backend"] == "onnxruntime"
    index = client.get_model_repository_index()
    assert {model["name"]: model["state"] for model in index} == {
        "mixture": "READY",
        "sentiment": "READY",
        "shapes": "READY",
    }


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("rows", [1, 3])
def test_every_dtype_goes_and_comes(client: InferenceServerClient, rows: int, binary: bool) -> None:
    arrays = {
        datatype: (np.arange(rows * 4).reshape(rows, 4) % 7).astype(kind)
        for kind, datatype in KINDS.items()
    }
    inputs = [
        tensor(f"in_{datatype}", array, datatype, binary=binary or datatype == "FP16")
        for datatype, array in arrays.items()
    ]
    wanted = [
        InferRequestedOutput(f"out_{datatype}", binary_data=binary or datatype == "FP16")
        for datatype in arrays
    ]
    result = client.infer("mixture", inputs, outputs=wanted)
    for datatype, array in arrays.items():
        found = result.as_numpy(f"out_{datatype}")
        assert found.dtype == array.dtype
        assert np.array_equal(found, array)


def test_outputs_come_as_tensors_when_none_is_named(client: InferenceServerClient) -> None:
    pixels = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    result = client.infer("shapes", [tensor("image", pixels, "UINT8")], request_id="mine")
    assert result.get_response()["id"] == "mine"
    assert result.get_output("boxes")["parameters"]["binary_data_size"] > 0
    assert result.as_numpy("boxes").shape == (2, 32, 4)


def test_the_three_dialects_agree_on_an_image(
    service: Service, client: InferenceServerClient
) -> None:
    data = jpeg(scene_series(4, 1)[0])
    native = service.post_json("/models/shapes/predict", image_body(data)).json["detections"]
    text = base64.b64encode(data).decode()
    v1 = service.post_json("/v1/models/shapes:predict", {"instances": [{"b64": text}]}).json
    assert v1["predictions"] == [{"detections": native}]
    assert native
    for given in (
        [texts("image", data)],
        [texts("image", data, data)],
        [texts("image", text, text, binary=False)],
    ):
        wanted = [InferRequestedOutput(name) for name in ("boxes", "scores", "label_names")]
        result = client.infer("shapes", given, outputs=wanted)
        boxes, scores, labels = (
            result.as_numpy(name) for name in ("boxes", "scores", "label_names")
        )
        for row in range(len(boxes)):
            kept = scores[row] >= 0.5
            assert [label.decode() for label in labels[row][kept]] == [
                one["label"] for one in native
            ]
            assert {one["label"] for one in native} <= set(LABELS)
            # The native answer is rounded to 4 digits, and pixels to 2.
            found = np.round(scores[row][kept].astype(float), 4)
            assert np.allclose(found, [one["confidence"] for one in native], rtol=0, atol=1e-5)
            found = np.round(boxes[row][kept].astype(float), 2)
            assert np.allclose(found, [one["bbox"] for one in native], rtol=0, atol=1e-5)


def test_texts_get_the_native_scores_and_their_labels(
    service: Service, client: InferenceServerClient
) -> None:
    natives = [
        service.post_json("/models/sentiment/predict", {"text": text}).json
        for text in (POSITIVE, NEGATIVE)
    ]
    for binary in (True, False):
        given = texts("text", POSITIVE, NEGATIVE, binary=binary)
        wanted = [
            InferRequestedOutput("scores", binary_data=binary),
            InferRequestedOutput("label_names", binary_data=binary),
        ]
        result = client.infer("sentiment", [given], outputs=wanted)
        for row, native in zip(result.as_numpy("scores"), natives, strict=True):
            rounded = np.round(row.astype(float), 4)
            assert np.allclose(rounded, list(native["scores"].values()), rtol=0, atol=1e-5)
        names = [
            name.decode() if binary else name for name in result.as_numpy("label_names").tolist()
        ]
        assert names == ["positive", "negative"]
    top = InferRequestedOutput("scores", class_count=1)
    result = client.infer("sentiment", [texts("text", POSITIVE)], outputs=[top])
    score, index, label = result.as_numpy("scores")[0, 0].decode().split(":")
    assert (int(index), label) == (1, "positive")
    assert float(score) == pytest.approx(natives[0]["score"], abs=1e-4)


def test_requests_go_side_by_side(client: InferenceServerClient) -> None:
    asked = [
        client.async_infer("sentiment", [texts("text", text)], timeout=4_000_000, priority=1)
        for text in (POSITIVE, NEGATIVE) * 4
    ]
    scores = [one.get_result().as_numpy("scores")[0] for one in asked]
    assert [int(row.argmax()) for row in scores] == [1, 0] * 4


def test_statistics_count_what_was_asked(client: InferenceServerClient) -> None:
    def taken() -> Any:
        (found,) = client.get_inference_statistics("mixture")["model_stats"]
        return found

    before = taken()
    inputs = [
        tensor(f"in_{datatype}", np.zeros((2, 4), kind), datatype)
        for kind, datatype in KINDS.items()
    ]
    client.infer("mixture", inputs)
    give_up_s = time.monotonic() + START_TIMEOUT_S
    # The engine counts a batch once it has said that it ran.
    while (after := taken())["inference_count"] - before["inference_count"] < 2:
        assert time.monotonic() < give_up_s
    assert after["inference_count"] - before["inference_count"] == 2
    assert 1 <= after["execution_count"] - before["execution_count"] <= 2
    counts = [one["inference_stats"]["success"]["count"] for one in (before, after)]
    assert counts[1] - counts[0] == 1
    assert after["last_inference"] >= before["last_inference"] > 0
    names = {one["name"] for one in client.get_inference_statistics()["model_stats"]}
    assert names == {"mixture", "sentiment", "shapes"}


def refused(client: InferenceServerClient, model: str, given: InferInput, **more: Any) -> str:
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, [given], **more)
    return f"{caught.value.status()} {caught.value.message()}"


def test_errors_are_the_clients_own(client: InferenceServerClient) -> None:
    ids = np.array([[-1, 2]])
    image = np.zeros((1, 8, 8, 3), np.uint8)
    text = texts("text", "fine")
    wanted = [InferRequestedOutput("other")]
    assert refused(client, "none", text).startswith("404 no such model or version")
    assert refused(client, "shapes", tensor("image", image, "UINT8")) == (
        "400 image: shape must be [rows, 160, 160, 3]"
    )
    assert refused(client, "shapes", texts("image", b"GIF89a")).startswith(
        "400 the image is not JPEG, PNG or WebP"
    )
    assert refused(client, "sentiment", text, outputs=wanted) == (
        "400 outputs: the model has scores, label_names"
    )
    assert refused(client, "sentiment", tensor("input_ids", ids, "INT64")).startswith(
        "400 inputs: give each of the model's inputs once"
    )
    assert refused(client, "sentiment", text, request_compression_algorithm="gzip") == (
        "400 compressed bodies are not taken; send it as it is"
    )
    for change in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="not loaded or unloaded over HTTP"):
            change("shapes")


def test_v1_answers_its_status_and_many_instances(service: Service) -> None:
    status = json.loads(service.request("/v1/models/sentiment").body)
    assert status["ready"]
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    answer = service.post_json(
        "/v1/models/sentiment:predict", {"instances": [POSITIVE, {"text": NEGATIVE}]}
    )
    labels = [prediction["label"] for prediction in answer.json["predictions"]]
    assert labels == ["positive", "negative"]
