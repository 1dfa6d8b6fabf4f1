"""What detection and classification share: the ways an image comes in."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest

from inferctl.bundles.manifest import Manifest
from inferctl.errors import RequestError, TooLarge, Unprocessable, UnsupportedMedia
from inferctl.settings import LimitsSettings, RuntimeSettings
from inferctl.tasks.base import parse_json
from inferctl.tasks.images import EXAMPLE_PNG_B64, ImageTask

from .pictures import encoded, photo, plain
from .tinybundles import classifier, detector, reader, task_of

BOTH = [detector(height=6, width=9), classifier(height=6, width=9)]
RED_PNG = encoded(plain("red", (20, 10)), "PNG")


@pytest.mark.parametrize("manifest", BOTH, ids=lambda manifest: manifest.task)
def test_the_example_is_a_request_that_the_task_takes(manifest: Manifest) -> None:
    task = task_of(manifest)
    body = orjson.dumps(task.example())
    parse_json(task.request, body)
    prepared = task.preprocess(task.read_json(body))
    assert prepared.tensors["image"].shape == (1, 6, 9, 3)


@pytest.mark.parametrize("manifest", BOTH, ids=lambda manifest: manifest.task)
def test_a_raw_image_becomes_the_model_s_row(manifest: Manifest) -> None:
    task = task_of(manifest)
    prepared = task.preprocess(task.read_raw(RED_PNG, {}))
    assert list(prepared.tensors) == ["image"]
    assert (prepared.rows, prepared.tokens) == (1, 1)
    assert np.array_equal(prepared.tensors["image"], np.full((1, 6, 9, 3), (255, 0, 0)))
    assert (prepared.context.width, prepared.context.height) == (20, 10)


def test_options_come_from_the_json_or_from_the_query() -> None:
    task = task_of(detector())
    body = {"image_b64": EXAMPLE_PNG_B64, "confidence_threshold": 0.25}
    assert task.read_json(orjson.dumps(body)).options.confidence_threshold == 0.25
    raw = task.read_raw(RED_PNG, {"confidence_threshold": "0.75"})
    assert raw.options.confidence_threshold == 0.75
    assert raw.data == RED_PNG


def test_options_of_another_task_are_refused() -> None:
    task = task_of(detector())
    with pytest.raises(Unprocessable, match="allowed: confidence_threshold"):
        task.read_raw(RED_PNG, {"top_k": "1"})
    body = {"image_b64": EXAMPLE_PNG_B64, "top_k": 1}
    allowed = "allowed: confidence_threshold, max_detections, image_b64"
    with pytest.raises(Unprocessable, match=allowed):
        task.read_json(orjson.dumps(body))


@pytest.mark.parametrize("value", ["cat picture", "https://example.org/cat.png", "/etc/passwd\n"])
def test_an_image_that_is_not_base64_is_malformed(value: str) -> None:
    task = task_of(detector())
    item = task.read_json(json.dumps({"image_b64": value}).encode())
    with pytest.raises(RequestError, match="image_b64 is not base64") as caught:
        task.preprocess(item)
    assert value not in str(caught.value)


def test_an_empty_image_is_unsupported() -> None:
    task = task_of(detector())
    with pytest.raises(UnsupportedMedia):
        task.preprocess(task.read_json(b'{"image_b64": ""}'))


def test_the_model_s_own_pixel_limit_holds() -> None:
    task = task_of(detector(), limits=LimitsSettings(max_pixels=199))
    with pytest.raises(TooLarge):
        task.preprocess(task.read_raw(RED_PNG, {}))


def test_the_model_s_own_way_of_decoding_is_used() -> None:
    jpeg = encoded(photo(), "JPEG")
    fast, exact = (
        task.preprocess(task.read_raw(jpeg, {})).tensors["image"]
        for task in (
            task_of(detector(), runtime=RuntimeSettings(decode="fast")),
            task_of(detector(), runtime=RuntimeSettings(decode="exact")),
        )
    )
    assert not np.array_equal(fast, exact)


def test_an_image_task_needs_an_image_section() -> None:
    text_only = reader()
    with pytest.raises(ValueError, match=r"manifest\.image"):
        type(task_of(detector()))(text_only, LimitsSettings(), RuntimeSettings())  # type: ignore[call-arg]


def test_images_leave_the_event_loop() -> None:
    assert ImageTask.decodes_off_loop
    assert ImageTask.media_types == ("image/jpeg", "image/png", "image/webp")
