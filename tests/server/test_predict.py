"""The hot path with a fake engine, through both doors: what is answered and what is refused."""

from __future__ import annotations

import asyncio
import base64
import gc
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferctl.arena.wire import Verdict
from inferctl.bundles.manifest import Manifest
from inferctl.server.run import Run
from inferctl.server.served import ServedModel
from inferctl.settings import ServerSettings
from inferctl.tasks.images import EXAMPLE_PNG_B64, ImageItem
from tests.tasks.pictures import encoded, plain
from tests.tasks.tinybundles import (
    classifier,
    detector,
    numbers,
    reader,
    write_tokenizer,
)

from .doors import Door
from .loop import until
from .wiring import few_slots, outputs_of, working

IMAGE = {"image_b64": EXAMPLE_PNG_B64}
PNG = {"Content-Type": "image/png"}
LET_GO_WITHIN_S = 5


async def test_a_detection_is_answered(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        answer = await way.post_json(IMAGE, headers={"X-Request-ID": "me"})
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"] == "me"
        assert re.fullmatch(
            r"decode;dur=[\d.]+, queue;dur=[\d.]+, inference;dur=[\d.]+, postprocess;dur=[\d.]+,"
            r" total;dur=[\d.]+",
            answer.headers["server-timing"],
        )
        content = answer.json
        assert content["detections"] == [
            {"label": "cat", "confidence": 0.5, "bbox": [0.0, 0.0, 0.5, 1.0]}
        ]
        assert (content["model"], content["version"]) == ("shapes", 3)
        assert content["latency_ms"] >= content["inference_ms"] >= 0
        worker.models[0].task.answer.model_validate_json(answer.body, strict=True)
        assert worker.slots_in_use() == 0


async def test_a_raw_image_takes_its_options_from_the_query(tmp_path: Path, door: Door) -> None:
    image = encoded(plain(size=(200, 100)), "PNG")
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        answer = await way.ask(body=image, headers=PNG, query="confidence_threshold=0.2&version=3")
        boxes = [box["bbox"] for box in answer.json["detections"]]
        assert boxes == [[0, 0, 100, 100]] * 2


async def test_a_raw_text_is_answered(tmp_path: Path, door: Door) -> None:
    write_tokenizer(tmp_path, "good")
    async with working(tmp_path, reader()) as worker, door(worker) as way:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        answer = await way.ask(body=[b"go", b"od"], headers=headers)
        assert answer.json["scores"] == {"cat": 0.5, "dog": 0.25, "owl": 0.125}


async def test_the_engine_gets_the_row_and_its_deadline(tmp_path: Path, door: Door) -> None:
    settings = ServerSettings(request_timeout_ms=60_000)
    red = encoded(plain("red"), "PNG")
    async with (
        working(tmp_path, classifier(), server=settings, verdict=None) as worker,
        door(worker) as way,
    ):
        asking = asyncio.create_task(way.ask(body=red, headers=PNG))
        number, slot = await worker.engine.next()
        arena = worker.models[number].arena
        assert np.array_equal(arena.inputs["image"][slot], np.full((8, 8, 3), (255, 0, 0)))
        assert 50 < arena.deadline_s[slot] - arena.submitted_s[slot] <= 60
        assert worker.slots_in_use() == 1
        worker.engine.answer((number, slot))
        assert (await asking).status == 200


REFUSED = [
    (400, "malformed", "application/json", b"{", ""),
    (400, "malformed", "application/json", b'{"image_b64": "%"}', ""),
    (400, "malformed", "image/png", b"x", "&".join("abcdefghijklmnopqrstuvwxyz" * 2)),
    (404, "not_found", "image/png", b"x", "version=2"),
    (404, "not_found", "image/png", b"x", "version=stable"),
    (413, "too_large", "image/png", b"x" * 2000, ""),
    (413, "too_large", "image/png", encoded(plain(size=(100, 100)), "PNG"), ""),
    (415, "unsupported_media", "", b"", ""),
    (415, "unsupported_media", "text/plain", b"good", ""),
    (415, "unsupported_media", "multipart/form-data; boundary=x", b"--x--", ""),
    (415, "unsupported_media", "image/png", b"GIF89a", ""),
    (422, "unprocessable", "application/json", b"{}", ""),
    (422, "unprocessable", "image/png", b"", "confidence_threshold=2"),
    (422, "unprocessable", "application/json", b"{}", "confidence_threshold=0.5"),
    (422, "unprocessable", "image/png", encoded(plain(), "PNG")[:50], ""),
]


@pytest.mark.parametrize(
    ("status", "code", "content_type", "body", "query"), REFUSED, ids=range(len(REFUSED))
)
async def test_a_refusal_names_its_kind_and_frees_the_slot(
    tmp_path: Path, door: Door, status: int, code: str, content_type: str, body: bytes, query: str
) -> None:
    server = ServerSettings(max_body_bytes=1024)
    settings = few_slots(max_pixels=9999)
    async with (
        working(tmp_path, detector(), server=server, settings=settings) as worker,
        door(worker) as way,
    ):
        headers = {"Content-Type": content_type} if content_type else {}
        answer = await way.ask(body=body, headers=headers, query=query)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["request_id"] == answer.headers["x-request-id"]
        assert len(answer.body) <= 512
        assert worker.engine.submitted.empty()
        assert worker.slots_in_use() == 0


async def test_a_compressed_body_is_refused(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert (await way.ask(body=b"\x1f\x8b", headers=headers)).status == 415


async def test_the_announced_length_is_refused_before_the_body(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        headers = PNG | {"Content-Length": str(ServerSettings().max_body_bytes + 1)}
        answer = await way.ask(headers=headers)
        assert answer.status == 413


@pytest.mark.parametrize(
    ("verdict", "status", "code"),
    [(Verdict.FAILED, 500, "row_failed"), (Verdict.EXPIRED, 504, "deadline_exceeded")],
)
async def test_a_verdict_against_the_row_is_told(
    tmp_path: Path, door: Door, verdict: Verdict, status: int, code: str
) -> None:
    async with working(tmp_path, detector(), verdict=verdict) as worker, door(worker) as way:
        answer = await way.post_json(IMAGE)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert worker.slots_in_use() == 0


async def test_outputs_that_are_no_numbers_fail_the_row(tmp_path: Path, door: Door) -> None:
    def spoil(model: ServedModel, slot: int) -> None:
        outputs_of(model, slot)["scores"][:] = np.nan

    async with working(tmp_path, classifier(), fill=spoil) as worker, door(worker) as way:
        answer = await way.post_json(IMAGE)
        assert (answer.status, answer.json["code"]) == (500, "non_finite_output")


@pytest.mark.parametrize(
    ("path", "query", "status", "model"),
    [
        ("/predict", "model=animals", 200, "animals"),
        ("/predict", "model=shapes&version=3", 200, "shapes"),
        ("/predict", "model=an%69mals", 200, "animals"),
        ("/predict", "", 404, ""),
        ("/predict", "model=none", 404, ""),
        ("/predict", "model=shapes&version=9", 404, ""),
        ("/models/shapes/predict", "model=shapes", 200, "shapes"),
        ("/models/shapes/predict", "model=animals", 404, ""),
    ],
)
async def test_the_query_may_name_the_model(
    tmp_path: Path, door: Door, path: str, query: str, status: int, model: str
) -> None:
    async with working(tmp_path, detector(), classifier()) as worker, door(worker) as way:
        for _ in range(2):  # the second time the head is known
            answer = await way.post_json(IMAGE, path, query=query)
            assert (answer.status, answer.json.get("model", "")) == (status, model)


DAMAGED = {"image_b64": base64.b64encode(b"\x89PNG" + bytes(100)).decode()}


@pytest.mark.row(187)
@pytest.mark.parametrize(
    ("manifest", "contents"),
    [
        (detector(), [DAMAGED, {"image_b64": "-"}, {}, {"items": []}]),
        (reader(), [{}, {"items": []}]),
        (numbers(), [{}, {"inputs": [1]}, {"items": []}]),
    ],
    ids=("image", "text", "tensor"),
)
async def test_what_is_refused_is_let_go_at_once(
    tmp_path: Path, door: Door, manifest: Manifest, contents: list[dict[str, Any]]
) -> None:
    """Not when the interpreter next looks for cycles: till then there may be hundreds of it."""
    write_tokenizer(tmp_path)
    async with working(tmp_path, manifest) as worker, door(worker) as way:
        gc.collect()
        gc.freeze()  # what there was before is not looked at
        gc.disable()
        try:
            for content in contents:
                assert 400 <= (await way.post_json(content)).status < 500
            # A thread or a task of it may just be about to end.
            await until(
                # Their types: some of torch's objects, where other tests have it, warn when asked.
                lambda: not any(issubclass(type(o), Run | ImageItem) for o in gc.get_objects())
            )
        finally:
            gc.unfreeze()
            gc.enable()
