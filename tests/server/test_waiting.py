"""What a predict request waits for with a fake engine, through both doors, and who leaves."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest

from inferctl.arena.wire import Verdict
from inferctl.server.served import ServedModel
from inferctl.settings import ServerSettings
from inferctl.tasks.images import EXAMPLE_PNG_B64
from tests.tasks.pictures import encoded, plain
from tests.tasks.tinybundles import detector, reader, scores_of, write_tokenizer

from .asgi import DISCONNECT, ask, messages, part, post_json
from .doors import Door
from .loop import look_once
from .wiring import WORKER, few_slots, outputs_of, working

IMAGE = {"image_b64": EXAMPLE_PNG_B64}
PNG = {"Content-Type": "image/png"}


async def test_a_full_queue_refuses_until_a_slot_is_free(tmp_path: Path, door: Door) -> None:
    async with (
        working(tmp_path, detector(), slots=2, verdict=None) as worker,
        door(worker) as way,
    ):
        asking = [asyncio.create_task(way.post_json(IMAGE)) for _ in range(2)]
        held = [await worker.engine.next() for _ in asking]
        refused = await way.post_json(IMAGE)
        assert (refused.status, refused.json["code"]) == (429, "overloaded")
        assert refused.headers["retry-after"] == "1"
        for row in held:
            worker.engine.answer(row)
        assert [(await answer).status for answer in asking] == [200, 200]
        worker.engine.verdict = Verdict.DONE
        assert (await way.post_json(IMAGE)).status == 200


async def test_no_more_than_max_concurrent_are_in_work(tmp_path: Path, door: Door) -> None:
    settings = few_slots(max_concurrent=1)
    write_tokenizer(tmp_path, "good")
    async with (
        working(tmp_path, reader(), settings=settings, verdict=None) as worker,
        door(worker) as way,
    ):
        asking = [asyncio.create_task(way.post_json({"text": "good"})) for _ in range(3)]
        await worker.slots_are_used(3)
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


async def test_an_engine_that_is_late_is_a_missed_deadline(tmp_path: Path, door: Door) -> None:
    server = ServerSettings(request_timeout_ms=20)
    async with (
        working(tmp_path, detector(), server=server, verdict=None) as worker,
        door(worker) as way,
    ):
        answer = await way.post_json(IMAGE)
        assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")


async def test_a_missed_deadline_leaves_the_slot_to_the_engine(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, detector(), verdict=None) as worker, door(worker) as way:
        asking = asyncio.create_task(way.post_json(IMAGE))
        row = await worker.engine.next()
        worker.time_is_over()
        assert (await asking).status == 504
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


async def test_nothing_is_taken_in_while_the_models_load(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        worker.engine_is_ready(False)
        answer = await way.post_json(IMAGE)
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"


async def test_requests_wait_for_an_engine_that_is_replaced(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        assert (await way.post_json(IMAGE)).status == 200
        worker.engine.die()
        worker.engine_is_replaced()
        await look_once()
        asking = asyncio.create_task(way.post_json(IMAGE))
        await worker.slots_are_used(1)
        worker.engine.connect(worker.link)
        assert (await asking).status == 200


async def test_an_engine_that_stays_down_is_unavailable(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        assert (await way.post_json(IMAGE)).status == 200
        worker.link.give_up()
        answer = await way.post_json(IMAGE)
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert worker.slots_in_use() == 0


async def test_many_clients_each_get_their_own_answer(tmp_path: Path, door: Door) -> None:
    """Fifty at once, four times over the same slots, answered in a random order."""
    words = tuple(f"w{number}" for number in range(50))
    write_tokenizer(tmp_path, *words)
    manifest = reader(labels=words, outputs=scores_of(words))

    def say_the_word(model: ServedModel, slot: int) -> None:
        word = int(model.arena.inputs["input_ids"][slot, 1]) - 4
        outputs_of(model, slot)["scores"][:] = np.eye(50, dtype=np.float32)[word]

    rng = random.Random(1)
    async with (
        working(tmp_path, manifest, slots=60, verdict=None, fill=say_the_word) as worker,
        door(worker) as way,
    ):
        for _ in range(4):
            asking = [asyncio.create_task(way.post_json({"text": word})) for word in words]
            held = [await worker.engine.next() for _ in words]
            rng.shuffle(held)
            for row in held:
                worker.engine.answer(row)
            answers = await asyncio.gather(*asking)
            assert [answer.json["label"] for answer in answers] == list(words)
        assert worker.slots_in_use() == 0
        ok = worker.ledger.blocks[WORKER].cell("inference_requests_total", 0, "ok")
        assert ok.get() == 200
