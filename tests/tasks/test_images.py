"""What detection and classification share: the ways an image comes in."""

from __future__ import annotations

import base64
import json

import numpy as np
import orjson
import pytest

from inferctl.bundles.manifest import Manifest
from inferctl.refusals import RequestError, TooLarge, Unprocessable, UnsupportedMedia
from inferctl.settings import LimitsSettings, RuntimeSettings
from inferctl.tasks.base import parse_json
from inferctl.tasks.images import EXAMPLE_PNG_B64, ImageTask

from .pictures import encoded, photo, plain
from .tinybundles import classifier, detector, reader, task_of

BOTH = [detector(height=6, width=9), classifier(height=6, width=9)]
MIN_IMAGE_BYTES = 1024
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
    assert prepared.shape == b"20x10"


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


@pytest.mark.parametrize("value", ["cat picture", "", "/etc/passwd\n"])
def test_an_image_that_is_not_base64_is_malformed(value: str) -> None:
    task = task_of(detector())
    item = task.read_json(json.dumps({"image_b64": value}).encode())
    with pytest.raises(RequestError, match="image_b64 is not base64") as caught:
        task.preprocess(item)
    assert not value or value not in str(caught.value)


def test_an_empty_body_is_no_image() -> None:
    task = task_of(detector())
    with pytest.raises(UnsupportedMedia):
        task.preprocess(task.read_raw(b"", {}))


def test_an_image_may_have_as_many_bytes_as_the_limit() -> None:
    data = RED_PNG + bytes(MIN_IMAGE_BYTES - len(RED_PNG))
    task = task_of(detector(), limits=LimitsSettings(max_image_bytes=MIN_IMAGE_BYTES))
    ways = (bytes, bytearray, lambda data: base64.b64encode(data).decode())
    for encode in ways:
        assert task.preprocess(task.element(encode(data))).rows == 1
        with pytest.raises(TooLarge, match=f"more than {MIN_IMAGE_BYTES} bytes"):
            task.preprocess(task.element(encode(data + b"\0")))


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
