"""A predict request step by step: what it holds, what it waits for, how it ends."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from inferctl.arena.ledger import Ledger
from inferctl.arena.wire import Verdict
from inferctl.refusals import Unprocessable
from inferctl.server import admission
from inferctl.server.call import Call, Reply
from inferctl.server.dialects.native import Native
from inferctl.server.prediction import Prediction
from inferctl.server.served import ServedModel
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .asgi import make_call
from .loop import look_once, until
from .wiring import SLOTS, Row, Worker, few_slots, outputs_of, working

ROW = [1.0, 2.0, 3.0, 4.0]
ONE_AT_A_TIME = few_slots(max_concurrent=1)
ENDS = {"expire": 504, "abandon": 499}


class Request:
    """A predict request of the first model, and the replies that it got: never more than one."""

    def __init__(self, worker: Worker, inputs: Any = ROW, respond: Any = None) -> None:
        self.replies: list[Reply] = []
        self.body = orjson.dumps({"inputs": inputs})
        self.call: Call = make_call(headers={"Content-Type": JSON})
        self.prediction = Prediction(
            self.call,
            worker.models[0],
            Native(),
            worker.work,
            respond or self.replies.append,
        )

    def complete(self) -> Request:
        self.prediction.feed(self.body)
        self.prediction.complete()
        return self

    @property
    def status(self) -> int:
        """0 until it is answered."""
        assert len(self.replies) <= 1
        return self.replies[0].status if self.replies else 0

    @property
    def answer(self) -> Any:
        (reply,) = self.replies
        return orjson.loads(reply.body)


async def held_rows(worker: Worker, count: int) -> list[Row]:
    rows = [await worker.engine.next() for _ in range(count)]
    await look_once()
    assert worker.engine.submitted.empty()
    return rows


def echo(model: ServedModel, slot: int) -> None:
    """Three of the four numbers that came in."""
    outputs_of(model, slot)["logits"][:] = model.arena.inputs["input"][slot][:3]


async def answer(worker: Worker, rows: Iterable[Row], verdict: Verdict = Verdict.DONE) -> None:
    for number, slot in rows:
        waiting = worker.link._waiting[number]
        request = waiting[slot]
        worker.engine.answer((number, slot), verdict)
        # The next one's row may be in the slot at once.
        await until(lambda: waiting.get(slot, ...) is not request)  # noqa: B023 - called here only


async def test_whoever_has_an_answer_finds_it_counted_and_its_slot_free(tmp_path: Path) -> None:
    found: list[tuple[float, float]] = []

    def look(reply: Reply) -> None:
        ok = worker.ledger.total("inference_requests_total", 0, reply.outcome)
        found.append((ok, worker.slots_in_use()))

    async with working(tmp_path, numbers()) as worker:
        Request(worker, respond=look).complete()
        await worker.slots_are_used(0)
        Request(worker, "no numbers", respond=look).complete()
        assert found == [(1, 0), (1, 0)]


async def test_its_time_runs_from_its_headers_on(tmp_path: Path) -> None:
    server = ServerSettings(request_timeout_ms=60_000)
    async with working(tmp_path, numbers(), server=server, verdict=None) as worker:
        request = Request(worker)
        await look_once()
        request.complete()
        ((_, slot),) = await held_rows(worker, 1)
        assert worker.models[0].arena.deadline_s[slot] == request.call.begun_s + 60


@pytest.mark.parametrize("end", ENDS)
async def test_a_request_that_ends_at_the_gate_passes_its_place_on(
    tmp_path: Path, end: str
) -> None:
    async with working(tmp_path, numbers(), settings=ONE_AT_A_TIME, verdict=None) as worker:
        first, second, third = (Request(worker).complete() for _ in range(3))
        running = await held_rows(worker, 1)
        assert worker.slots_in_use() == 3
        getattr(second.prediction, end)()
        assert (second.status, worker.slots_in_use()) == (ENDS[end], 2)
        await answer(worker, running)
        await answer(worker, await held_rows(worker, 1))
        assert (first.status, third.status) == (200, 200)
        assert worker.slots_in_use() == 0


@pytest.mark.parametrize("end", ENDS)
async def test_a_request_that_ends_while_its_place_is_on_its_way_passes_it_on(
    tmp_path: Path, end: str
) -> None:
    async with working(tmp_path, numbers(), settings=ONE_AT_A_TIME, verdict=None) as worker:
        first, second, third = (Request(worker).complete() for _ in range(3))
        await held_rows(worker, 1)
        first.prediction.abandon()
        getattr(second.prediction, end)()
        await held_rows(worker, 1)
        assert (second.status, third.status) == (ENDS[end], 0)


@pytest.mark.parametrize("end", ENDS)
async def test_a_request_that_ends_in_the_decoder_holds_its_place_until_the_decoder_is_done(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    async with working(tmp_path, numbers(), settings=ONE_AT_A_TIME, verdict=None) as worker:
        task = worker.models[0].task
        preprocess = task.preprocess

        def decode(item: Any) -> Any:
            assert go_on.wait(60)
            return preprocess(item)

        monkeypatch.setattr(type(task), "decodes_off_loop", True)
        monkeypatch.setattr(task, "preprocess", decode)
        first, second, third = (Request(worker).complete() for _ in range(3))
        getattr(first.prediction, end)()
        await held_rows(worker, 0)
        assert (first.status, worker.slots_in_use()) == (ENDS[end], 2)
        go_on.set()
        await answer(worker, await held_rows(worker, 1))
        assert (second.status, third.status) == (200, 0), "it gave its place back once"
        await answer(worker, await held_rows(worker, 1))
        assert third.status == 200
        assert worker.slots_in_use() == 0


async def test_a_decoder_that_refuses_gives_the_place_and_the_slot_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any) -> None:
        raise Unprocessable("no")

    async with working(tmp_path, numbers(), settings=ONE_AT_A_TIME) as worker:
        task = worker.models[0].task
        monkeypatch.setattr(type(task), "decodes_off_loop", True)
        with monkeypatch.context() as patch:
            patch.setattr(task, "preprocess", refuse)
            answered: asyncio.Queue[Reply] = asyncio.Queue()
            Request(worker, respond=answered.put_nowait).complete()
            assert (await answered.get()).status == 422
        assert worker.slots_in_use() == 0
        Request(worker, respond=answered.put_nowait).complete()
        assert (await answered.get()).status == 200


async def test_many_rows_are_answered_with_the_last_of_them_in_their_order(tmp_path: Path) -> None:
    rows = [[float(row)] * 4 for row in range(SLOTS)]
    async with working(tmp_path, numbers(), verdict=None, fill=echo) as worker:
        request = Request(worker, rows).complete()
        held = await held_rows(worker, SLOTS)
        assert worker.slots_in_use() == SLOTS
        last = held.pop(3)
        await answer(worker, reversed(held))
        assert (request.status, worker.slots_in_use()) == (0, SLOTS)
        await answer(worker, [last])
        assert request.answer["outputs"] == {"logits": [row[:3] for row in rows]}
        assert worker.slots_in_use() == 0


@pytest.mark.parametrize(("verdict", "status"), [(Verdict.FAILED, 500), (Verdict.EXPIRED, 504)])
async def test_one_row_against_them_fails_all_and_frees_the_others_with_their_verdicts(
    tmp_path: Path, verdict: Verdict, status: int
) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker:
        request = Request(worker, [ROW] * 3).complete()
        first, second, third = await held_rows(worker, 3)
        await answer(worker, [second], verdict)
        assert request.status == status
        cancelled = worker.models[0].arena.cancelled
        assert [cancelled[slot] for _, slot in (first, third)] == [1, 1]
        assert worker.slots_in_use() == 2
        await answer(worker, [first])
        assert worker.slots_in_use() == 1
        await answer(worker, [third], Verdict.CANCELLED)
        assert worker.slots_in_use() == 0
        assert request.status == status


async def test_many_rows_that_find_no_room_now_are_refused_and_take_none(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker:
        Request(worker).complete()
        assert Request(worker, [ROW] * SLOTS).complete().status == 429
        await held_rows(worker, 1)
        assert worker.slots_in_use() == 1
        assert Request(worker, [ROW] * (SLOTS - 1)).complete().status == 0


@pytest.mark.parametrize("more", [1, 2, 10])
async def test_more_rows_than_the_queue_holds_are_too_large(tmp_path: Path, more: int) -> None:
    async with working(tmp_path, numbers()) as worker:
        request = Request(worker, [ROW] * (SLOTS + more)).complete()
        assert (request.status, worker.slots_in_use()) == (413, 0)
        assert worker.engine.submitted.empty()


async def test_a_request_that_would_be_late_is_refused_until_it_would_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission.random, "uniform", lambda *_: 1.0)
    async with working(tmp_path, numbers(), verdict=None) as worker:
        row_seconds = worker.ledger.blocks[Ledger.ENGINE].cell("inferctl_row_seconds", 0)
        row_seconds.set(6.5)
        waiting = Request(worker).complete()
        refused = Request(worker).complete()
        await until(lambda: refused.replies)
        assert (waiting.status, refused.status) == (0, 429)
        assert refused.replies[0].extra == b"retry-after: 7\r\nretry-after-ms: 6500\r\n"
        await answer(worker, await held_rows(worker, 1))
        assert Request(worker).complete().status == 0


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_refused_request_holds_no_body_until_it_is_told(
    tmp_path: Path, is_chunked: bool
) -> None:
    async with working(tmp_path, numbers(), slots=1, verdict=None) as worker:
        admission = worker.models[0].admission
        refused = Request(worker)
        refused.prediction.begin(0 if is_chunked else len(refused.body))
        refused.prediction.feed(refused.body)
        assert admission.body_bytes == len(refused.body)
        Request(worker).complete()
        refused.prediction.complete()
        assert (refused.status, admission.body_bytes) == (0, 0)
        await until(lambda: refused.replies)
        assert (refused.status, admission.body_bytes) == (429, 0)


async def test_a_refused_request_whose_client_left_is_not_told(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), slots=1, verdict=None) as worker:
        Request(worker).complete()
        gone, waiting = (Request(worker).complete() for _ in range(2))
        gone.prediction.abandon()
        assert gone.prediction._hear() is False
        await until(lambda: waiting.replies)
        assert (gone.status, waiting.status) == (499, 429)
        assert worker.ledger.total("inferctl_shed_total", 0, "queue") == 1


async def test_a_request_is_answered_once_whatever_comes_after(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker:
        request = Request(worker).complete()
        await answer(worker, await held_rows(worker, 1))
        for late in (request.prediction.abandon, request.prediction.expire):
            late()
        request.prediction.fail(Unprocessable("too late"))
        request.complete()
        assert request.status == 200
        assert worker.ledger.total("inference_requests_total", 0, "ok") == 1
        await held_rows(worker, 0)
    assert [entry["status"] for entry in worker.logged()] == [200]


@pytest.mark.parametrize("off_loop", [False, True])
async def test_a_bug_frees_the_slot_and_the_place(
    tmp_path: Path,
    off_loop: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answered: asyncio.Queue[Reply] = asyncio.Queue()
    async with working(tmp_path, numbers(), settings=ONE_AT_A_TIME) as worker:
        task = worker.models[0].task
        monkeypatch.setattr(type(task), "decodes_off_loop", off_loop)
        with monkeypatch.context() as patch:
            patch.setattr(task, "preprocess", lambda _: math.sqrt(-1))
            Request(worker, respond=answered.put_nowait).complete()
            reply = await answered.get()
        assert (reply.status, reply.outcome) == (500, "internal_error")
        assert "ValueError: math domain error" in capsys.readouterr().err
        assert worker.slots_in_use() == 0
        Request(worker, respond=answered.put_nowait).complete()
        assert (await answered.get()).status == 200
