"""The hot path with a fake engine: what is answered, when, and what is refused."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path

import numpy as np
import pytest

from inferctl.arena.wire import Verdict
from inferctl.server.served import ServedModel
from inferctl.settings import ServerSettings
from inferctl.tasks.images import EXAMPLE_PNG_B64
from tests.tasks.pictures import encoded, plain
from tests.tasks.tinybundles import (
    classifier,
    detector,
    reader,
    scores_of,
    write_tokenizer,
)

from .asgi import DISCONNECT, ask, messages, part, post_json
from .loop import look_once
from .wiring import WORKER, few_slots, working

IMAGE = {"image_b64": EXAMPLE_PNG_B64}
PNG = {"Content-Type": "image/png"}


async def test_a_detection_is_answered(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        answer = await post_json(worker.app, IMAGE, headers={"X-Request-ID": "me"})
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


async def test_a_raw_image_takes_its_options_from_the_query(tmp_path: Path) -> None:
    image = encoded(plain(size=(200, 100)), "PNG")
    async with working(tmp_path, detector()) as worker:
        answer = await ask(
            worker.app, body=image, headers=PNG, query="confidence_threshold=0.2&version=3"
        )
        boxes = [box["bbox"] for box in answer.json["detections"]]
        assert boxes == [[0, 0, 100, 100]] * 2


async def test_a_raw_text_is_answered(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, "good")
    async with working(tmp_path, reader()) as worker:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        answer = await ask(worker.app, body=[b"go", b"od"], headers=headers)
        assert answer.json["scores"] == {"cat": 0.5, "dog": 0.25, "owl": 0.125}


async def test_the_engine_gets_the_row_and_its_deadline(tmp_path: Path) -> None:
    settings = ServerSettings(request_timeout_ms=60_000)
    red = encoded(plain("red"), "PNG")
    async with working(tmp_path, classifier(), server=settings, verdict=None) as worker:
        asking = asyncio.create_task(ask(worker.app, body=red, headers=PNG))
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
    (404, "not_found", "image/png", b"x", "version=latest"),
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
    tmp_path: Path, status: int, code: str, content_type: str, body: bytes, query: str
) -> None:
    server = ServerSettings(max_body_bytes=1024)
    settings = few_slots(max_pixels=9999)
    async with working(tmp_path, detector(), server=server, settings=settings) as worker:
        headers = {"Content-Type": content_type} if content_type else {}
        answer = await ask(worker.app, body=body, headers=headers, query=query)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["request_id"] == answer.headers["x-request-id"]
        assert len(answer.body) <= 512
        assert worker.engine.submitted.empty()
        assert worker.slots_in_use() == 0


async def test_a_compressed_body_is_refused(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert (await ask(worker.app, body=b"\x1f\x8b", headers=headers)).status == 415


async def test_the_announced_length_is_refused_before_the_body(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        headers = PNG | {"Content-Length": str(ServerSettings().max_body_bytes + 1)}
        answer = await ask(worker.app, headers=headers, receive=messages())
        assert answer.status == 413


@pytest.mark.parametrize(
    ("verdict", "status", "code"),
    [(Verdict.FAILED, 500, "row_failed"), (Verdict.EXPIRED, 504, "deadline_exceeded")],
)
async def test_a_verdict_against_the_row_is_told(
    tmp_path: Path, verdict: Verdict, status: int, code: str
) -> None:
    async with working(tmp_path, detector(), verdict=verdict) as worker:
        answer = await post_json(worker.app, IMAGE)
        assert (answer.status, answer.json["code"]) == (status, code)
        assert worker.slots_in_use() == 0


async def test_outputs_that_are_no_numbers_fail_the_row(tmp_path: Path) -> None:
    def spoil(model: ServedModel, slot: int) -> None:
        model.outputs(slot)["scores"][:] = np.nan

    async with working(tmp_path, classifier(), fill=spoil) as worker:
        answer = await post_json(worker.app, IMAGE)
        assert (answer.status, answer.json["code"]) == (500, "row_failed")


async def test_a_full_queue_refuses_until_a_slot_is_free(tmp_path: Path) -> None:
    async with working(tmp_path, detector(), slots=2, verdict=None) as worker:
        asking = [asyncio.create_task(post_json(worker.app, IMAGE)) for _ in range(2)]
        held = [await worker.engine.next() for _ in asking]
        refused = await post_json(worker.app, IMAGE)
        assert (refused.status, refused.json["code"]) == (429, "overloaded")
        assert refused.headers["retry-after"] == "1"
        for row in held:
            worker.engine.answer(row)
        assert [(await answer).status for answer in asking] == [200, 200]
        worker.engine.verdict = Verdict.DONE
        assert (await post_json(worker.app, IMAGE)).status == 200


async def test_no_more_than_max_concurrent_are_in_work(tmp_path: Path) -> None:
    settings = few_slots(max_concurrent=1)
    write_tokenizer(tmp_path, "good")
    async with working(tmp_path, reader(), settings=settings, verdict=None) as worker:
        asking = [asyncio.create_task(post_json(worker.app, {"text": "good"})) for _ in range(3)]
        for _ in asking:
            row = await worker.engine.next()
            await look_once()
            assert worker.engine.submitted.empty()
            worker.engine.answer(row)
        assert [(await answer).status for answer in asking] == [200] * 3


async def test_a_body_that_does_not_come_is_a_request_timeout(tmp_path: Path) -> None:
    server = ServerSettings(request_timeout_ms=20)
    async with working(tmp_path, detector(), server=server) as worker:
        slow = messages(part(b"half", more=True))
        answer = await ask(worker.app, headers=PNG, receive=slow)
        assert (answer.status, answer.json["code"]) == (408, "request_timeout")
        assert worker.slots_in_use() == 0


async def test_an_engine_that_is_late_is_a_missed_deadline(tmp_path: Path) -> None:
    server = ServerSettings(request_timeout_ms=250)
    async with working(tmp_path, detector(), server=server, verdict=None) as worker:
        answer = await post_json(worker.app, IMAGE)
        assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
        row = await worker.engine.next()
        assert worker.slots_in_use() == 1, "the engine may still write into it"
        worker.engine.answer(row)
        await look_once()
        assert worker.slots_in_use() == 0


async def test_a_client_that_leaves_cancels_its_row(tmp_path: Path) -> None:
    left: asyncio.Queue[object] = asyncio.Queue()
    left.put_nowait(part(encoded(plain(), "PNG")))
    async with working(tmp_path, detector(), verdict=None) as worker:
        asking = asyncio.create_task(ask(worker.app, headers=PNG, receive=left.get))  # type: ignore[arg-type]
        number, slot = await worker.engine.next()
        left.put_nowait(DISCONNECT)
        assert (await asking).status == 499
        assert worker.models[number].arena.cancelled[slot] == 1
        worker.engine.answer((number, slot), Verdict.CANCELLED)
        await look_once()
        assert worker.slots_in_use() == 0


async def test_a_client_that_leaves_while_sending_costs_no_row(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        gone = messages(part(b"half", more=True), DISCONNECT)
        assert (await ask(worker.app, headers=PNG, receive=gone)).status == 499
        assert worker.engine.submitted.empty()
        assert worker.slots_in_use() == 0


async def test_a_request_that_is_cancelled_cancels_its_row(tmp_path: Path) -> None:
    async with working(tmp_path, detector(), verdict=None) as worker:
        asking = asyncio.create_task(post_json(worker.app, IMAGE))
        number, slot = await worker.engine.next()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert worker.models[number].arena.cancelled[slot] == 1
        worker.engine.answer((number, slot))
        await look_once()
        assert worker.slots_in_use() == 0


async def test_nothing_is_taken_in_while_the_models_load(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        worker.engine_is_ready(False)
        answer = await post_json(worker.app, IMAGE)
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"


async def test_requests_wait_for_an_engine_that_is_replaced(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        assert (await post_json(worker.app, IMAGE)).status == 200
        worker.engine.die()
        worker.engine_is_replaced()
        await look_once()
        asking = asyncio.create_task(post_json(worker.app, IMAGE))
        await look_once()
        worker.engine.connect(worker.link)
        assert (await asking).status == 200


async def test_an_engine_that_stays_down_is_unavailable(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        assert (await post_json(worker.app, IMAGE)).status == 200
        worker.link.give_up()
        answer = await post_json(worker.app, IMAGE)
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert worker.slots_in_use() == 0


async def test_many_clients_each_get_their_own_answer(tmp_path: Path) -> None:
    """Fifty at once, four times over the same slots, answered in a random order."""
    words = tuple(f"w{number}" for number in range(50))
    write_tokenizer(tmp_path, *words)
    manifest = reader(labels=words, outputs=scores_of(words))

    def say_the_word(model: ServedModel, slot: int) -> None:
        word = int(model.arena.inputs["input_ids"][slot, 1]) - 4
        model.outputs(slot)["scores"][:] = np.eye(50, dtype=np.float32)[word]

    rng = random.Random(1)
    async with working(tmp_path, manifest, slots=60, verdict=None, fill=say_the_word) as worker:
        for _ in range(4):
            asking = [asyncio.create_task(post_json(worker.app, {"text": word})) for word in words]
            held = [await worker.engine.next() for _ in words]
            rng.shuffle(held)
            for row in held:
                worker.engine.answer(row)
            answers = await asyncio.gather(*asking)
            assert [answer.json["label"] for answer in answers] == list(words)
        assert worker.slots_in_use() == 0
        ok = worker.ledger.blocks[WORKER].cell("inference_requests_total", "mood", "ok")
        assert ok.get() == 200
