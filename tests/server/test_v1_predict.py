"""`/v1/models/{name}:predict`, through both doors: instances in, predictions out."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferctl.settings import LimitsSettings, ModelSettings
from inferctl.tasks.base import JSON
from tests.tasks.pictures import encoded, plain
from tests.tasks.tinybundles import (
    classifier,
    detector,
    numbers,
    reader,
    tensor,
    write_tokenizer,
)

from .doors import Door
from .test_v2_infer import EVERY, echo
from .wiring import outputs_of, working

RED = base64.b64encode(encoded(plain("red", size=(40, 20)), "PNG")).decode()
SUMS = "/v1/models/sums:predict"
FEW = ModelSettings(limits=LimitsSettings(max_rows=3))


async def test_images_are_objects_b64_or_strings(tmp_path: Path, door: Door) -> None:
    instances = [{"image_b64": RED, "confidence_threshold": 0.3}, {"b64": RED}, RED]
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        answer = await way.post_json({"instances": instances}, "/v1/models/shapes:predict")
        assert answer.status == 200
        box = {"label": "cat", "confidence": 0.5, "bbox": [0.0, 0.0, 20.0, 20.0]}
        assert answer.json == {"predictions": [{"detections": [box]}] * 3}
        for name in ("x-request-id", "server-timing"):
            assert name in answer.headers
        assert worker.slots_in_use() == 0
    assert [entry["status"] for entry in worker.logged()] == [200]


async def test_texts_are_objects_or_strings(tmp_path: Path, door: Door) -> None:
    write_tokenizer(tmp_path, "good")
    async with working(tmp_path, reader()) as worker, door(worker) as way:
        content = {"signature_name": "serving_default", "instances": ["good", {"text": "good"}]}
        answer = await way.post_json(content, "/v1/models/mood/versions/3:predict")
        assert [prediction["label"] for prediction in answer.json["predictions"]] == ["cat"] * 2


async def test_rows_of_numbers_are_answered_row_by_row(tmp_path: Path, door: Door) -> None:
    rows = np.arange(12.0).reshape(3, 4).tolist()
    expected = {"predictions": [row[:3] for row in rows]}
    async with working(tmp_path, numbers(), fill=echo) as worker, door(worker) as way:
        for instances in (rows, [{"input": row} for row in rows]):
            answer = await way.post_json({"instances": instances}, SUMS)
            assert answer.json == expected
        assert worker.slots_in_use() == 0


async def test_several_inputs_and_outputs_are_named(tmp_path: Path, door: Door) -> None:
    named = numbers(
        inputs=(tensor("a", "float32", 2), tensor("b", "int64", 1)),
        outputs=(tensor("x", "float32", 2), tensor("y", "int64", 1)),
    )
    instances = [{"a": [1.5, 2], "b": [3]}, {"a": [4, 5], "b": [6]}]
    async with working(tmp_path, named, fill=echo) as worker, door(worker) as way:
        answer = await way.post_json({"instances": instances}, SUMS)
        assert answer.json["predictions"] == [
            {"x": [1.5, 2], "y": [3]},
            {"x": [4, 5], "y": [6]},
        ]
        answer = await way.post_json({"instances": [[1, 2]]}, SUMS)
        assert answer.json["error"] == (
            "instances: each must be an object of the model's inputs: a, b"
        )


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({}, "the body needs instances"),
        ([], "the body needs instances"),
        ({"instances": []}, "the body needs instances"),
        ({"inputs": [[1] * 4]}, "the body needs instances"),
        ({"instances": {"input": [1] * 4}}, "the body needs instances"),
        ({"instances": [[1] * 4] * 4}, "instances: more than 3"),
        ({"instances": [[1] * 3]}, "input: data must be FP32 numbers"),
        ({"instances": [[1] * 4, "x"]}, "input: data must be FP32 numbers"),
        ({"instances": [[1] * 4, {}]}, "input: data must be FP32 numbers"),
        ({"instances": [{"other": [1] * 4}]}, "instances: each must be an object"),
        ({"instances": [{"input": [1] * 4}, 1]}, "instances: each must be an object"),
        ({"instances": [[1, 2, 3, 1e39]]}, "input: row 0 holds a value outside -3.4"),
    ],
)
async def test_other_bodies_are_refused(
    tmp_path: Path, door: Door, content: Any, error: str
) -> None:
    async with working(tmp_path, numbers(), settings=FEW) as worker, door(worker) as way:
        answer = await way.post_json(content, SUMS)
        assert (answer.status, list(answer.json)) == (400, ["error"])
        assert answer.json["error"].startswith(error)


@pytest.mark.parametrize(
    ("instance", "error"),
    [
        ({"image": "x"}, "instances[1]: image_b64: field required"),
        ({"b64": 1}, "instances[1]: image_b64: field required"),
        ({"image_b64": RED, "top": 1}, "instances[1]: unknown field"),
        ({"image_b64": RED, "top_k": 0}, "instances[1]: top_k: "),
        (1, "instances[1]: "),
        ("%", "instances[1]: image_b64 is not base64"),
        ("aGVsbG8=", "instances[1]: the image is not JPEG, PNG or WebP"),
    ],
)
async def test_an_instance_that_does_not_fit_is_named(
    tmp_path: Path, door: Door, instance: Any, error: str
) -> None:
    async with working(tmp_path, classifier()) as worker, door(worker) as way:
        answer = await way.post_json({"instances": [RED, instance]}, "/v1/models/animals:predict")
        assert (answer.status, list(answer.json)) == (400, ["error"])
        assert answer.json["error"].startswith(error)
        assert worker.slots_in_use() == 0


async def test_what_is_no_json_is_refused(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, numbers()) as worker, door(worker) as way:
        for body, headers in (
            (b"{", {}),
            (b"", {}),
            (b"{}", {"Content-Encoding": "gzip"}),
            (b"[" * 200_000, {}),
        ):
            answer = await way.ask(SUMS, body, headers={"Content-Type": JSON, **headers})
            assert (answer.status, list(answer.json)) == (400, ["error"])
        missing = await way.ask("/v1/models/other:predict", b"{}")
        assert (missing.status, list(missing.json)) == (404, ["error"])


async def test_an_output_that_is_not_finite_fails(tmp_path: Path, door: Door) -> None:
    def infinite(model: Any, slot: int) -> None:
        outputs_of(model, slot)["logits"][:] = np.inf

    async with working(tmp_path, numbers(), fill=infinite) as worker, door(worker) as way:
        answer = await way.post_json({"instances": [[1] * 4]}, SUMS)
        assert (answer.status, answer.json["error"]) == (
            500,
            "the model's output logits is not finite",
        )


async def test_half_floats_are_numbers_here(tmp_path: Path, door: Door) -> None:
    row = [[1, 2], [3, 4]]
    async with working(tmp_path, EVERY, fill=echo) as worker, door(worker) as way:
        instance = dict.fromkeys("abcde", row)
        answer = await way.post_json({"instances": [instance]}, "/v1/models/every:predict")
        assert answer.json == {"predictions": [dict.fromkeys("ABCDE", row)]}
