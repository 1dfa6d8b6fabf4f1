"""Many items in one request: answered in their order, each failure in its place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from inferctl.arena.wire import Verdict
from inferctl.server.call import Reply
from inferctl.server.dialects.native import Native
from inferctl.server.prediction import Prediction
from inferctl.settings import LimitsSettings, ModelSettings
from inferctl.tasks.base import JSON
from inferctl.tasks.images import EXAMPLE_PNG_B64
from tests.tasks.tinybundles import classifier, numbers, reader, write_tokenizer

from .asgi import make_call
from .doors import Door
from .loop import until
from .wiring import SLOTS, Worker, few_slots, outputs_of, working

IMAGE = {"image_b64": EXAMPLE_PNG_B64}
BROKEN = {"image_b64": "bm90IGFuIGltYWdl"}


def number(value: float) -> dict[str, Any]:
    return {"inputs": [value] * 4}


def echo(model: Any, slot: int) -> None:
    outputs_of(model, slot)["logits"][:] = model.arena.inputs["input"][slot][:3]


class Request:
    """A request of many items to the first model."""

    def __init__(self, worker: Worker, *items: Any) -> None:
        self.replies: list[Reply] = []
        call = make_call(headers={"Content-Type": JSON})
        self.prediction = Prediction(
            call, worker.models[0], Native(), worker.work, self.replies.append
        )
        self.prediction.take(orjson.dumps({"items": items}))

    @property
    def statuses(self) -> list[int]:
        (reply,) = self.replies
        return [item.get("status", 200) for item in orjson.loads(reply.body)["items"]]


async def test_items_are_answered_in_their_order(tmp_path: Path, door: Door) -> None:
    items = [number(value) for value in range(5)]
    async with working(tmp_path, numbers(), fill=echo) as worker, door(worker) as way:
        answer = await way.post_json({"items": items}, headers={"X-Request-ID": "me"})
        assert answer.status == 200
        outputs = [item["outputs"]["logits"] for item in answer.json["items"]]
        assert outputs == [[value] * 3 for value in range(5)]
        assert (answer.json["model"], answer.json["version"]) == ("sums", 3)
        assert answer.headers["x-request-id"] == "me"
        worker.models[0].offer.answers[1].model_validate_json(answer.body, strict=True)
    assert worker.slots_in_use() == 0
    (entry,) = worker.logged()
    assert (entry["status"], entry["rows"]) == (200, 5), "one request, one line"
    assert entry["queue_ms"] >= 0, "the last one's"


async def test_an_item_that_is_broken_does_not_fail_its_neighbours(
    tmp_path: Path, door: Door
) -> None:
    async with working(tmp_path, classifier()) as worker, door(worker) as way:
        answer = await way.post_json({"items": [IMAGE, BROKEN, IMAGE | {"top_k": 1}]})
        assert answer.status == 200
        first, broken, last = answer.json["items"]
        assert (len(first["predictions"]), len(last["predictions"])) == (3, 1)
        assert (broken["status"], broken["code"]) == (415, "unsupported_media")
        assert worker.slots_in_use() == 0


async def test_a_problem_that_all_have_is_the_requests(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, classifier()) as worker, door(worker) as way:
        answer = await way.post_json({"items": [BROKEN, BROKEN]})
        assert (answer.status, answer.json["code"]) == (415, "unsupported_media")


async def test_texts_come_in_many_too(tmp_path: Path, door: Door) -> None:
    write_tokenizer(tmp_path, "good")
    async with working(tmp_path, reader()) as worker, door(worker) as way:
        answer = await way.post_json({"items": [{"text": "good"}, {"text": "good good"}]})
        assert [item["label"] for item in answer.json["items"]] == ["cat", "cat"]


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        ({"items": []}, 422, "items: list should have at least 1 item"),
        ({"items": [IMAGE] * 4}, 413, "items: list should have at most 3 items"),
        ({"items": [IMAGE, {"image_b64": 1}]}, 422, "items.1.image_b64: "),
        ({"items": [IMAGE, {}]}, 422, "items.1.image_b64: field required"),
        ({"items": [IMAGE | {"top": 1}]}, 422, "items.0: value error, unknown field"),
        ({"items": IMAGE}, 422, "items: input should be a valid"),
        ({"items": [IMAGE], "top_k": 1}, 422, "unknown field; allowed: items"),
    ],
)
async def test_a_request_of_another_form_is_refused_whole(
    tmp_path: Path, door: Door, content: Any, status: int, detail: str
) -> None:
    settings = ModelSettings(limits=LimitsSettings(max_rows=3))
    async with working(tmp_path, classifier(), settings=settings) as worker, door(worker) as way:
        answer = await way.post_json(content)
        assert answer.status == status
        assert answer.json["detail"].startswith(detail)
        assert worker.slots_in_use() == 0


async def test_items_that_find_no_room_are_refused_together(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker:
        Request(worker, *[number(0)] * 3)
        await until(lambda: worker.engine.submitted.qsize() == 3)
        refused = Request(worker, *[number(0)] * (SLOTS - 2))
        assert [reply.status for reply in refused.replies] == [429]
        assert worker.slots_in_use() == 3


async def test_a_row_that_fails_is_its_items_alone(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker:
        request = Request(worker, number(1), number(2), number(3))
        for verdict in (Verdict.DONE, Verdict.FAILED, Verdict.DONE):
            worker.engine.answer(await worker.engine.next(), verdict)
        await until(lambda: bool(request.replies))
        assert request.statuses == [200, 500, 200]


async def test_what_is_done_by_the_deadline_is_answered(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker:
        request = Request(worker, number(1), number(2))
        worker.engine.answer(await worker.engine.next())
        row = await worker.engine.next()
        await worker.slots_are_used(1)
        worker.time_is_over()
        assert request.statuses == [200, 504]
        worker.engine.answer(row, Verdict.CANCELLED)
        await worker.slots_are_used(0)


async def test_a_client_that_leaves_takes_its_items_along(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker:
        request = Request(worker, number(1), number(2))
        rows = [await worker.engine.next() for _ in range(2)]
        request.prediction.abandon()
        assert [reply.status for reply in request.replies] == [499]
        for row in rows:
            worker.engine.answer(row, Verdict.CANCELLED)
        await worker.slots_are_used(0)
        assert worker.ledger.total("inference_requests_total", 0, "client_gone") == 1


async def test_the_line_of_a_client_that_left_says_what_was_done(tmp_path: Path) -> None:
    """One item was run, the others were decoded."""
    async with working(tmp_path, numbers(), verdict=None) as worker:
        request = Request(worker, *[number(0)] * 3)
        _, slot = row = await worker.engine.next()
        worker.models[0].arena.batch_rows[slot] = 1
        worker.engine.answer(row)
        await worker.slots_are_used(2)
        request.prediction.abandon()
        parts = request.prediction.call.parts
        request.prediction.abandon()
        assert request.prediction.call.parts is parts, "what was logged stays"
    (entry,) = worker.logged()
    assert (entry["outcome"], entry["rows"], entry["batch_rows"]) == ("client_gone", 3, 1)
    assert entry["queue_ms"] >= 0
    assert [len(part.phases_ms) for part in parts] == [4, 1, 1]


async def test_items_wait_for_each_other_at_the_gate(tmp_path: Path, door: Door) -> None:
    settings = few_slots(max_concurrent=1)
    async with working(tmp_path, classifier(), settings=settings) as worker, door(worker) as way:
        answers = await asyncio.gather(*[way.post_json({"items": [IMAGE] * 2}) for _ in range(3)])
        assert [answer.status for answer in answers] == [200] * 3
