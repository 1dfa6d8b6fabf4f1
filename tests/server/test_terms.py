"""What a request's headers say of its deadline and its urgency."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from inferctl.arena.wire import Verdict
from inferctl.refusals import RequestError
from inferctl.server.terms import USUAL, Terms, terms_of
from inferctl.settings import ServerSettings
from tests.tasks.tinybundles import numbers

from .doors import Door
from .wiring import Worker, working

ROW = {"inputs": [1.0, 2.0, 3.0, 4.0]}
LONG = ServerSettings(request_timeout_ms=60_000, max_request_timeout_ms=80_000)


def fields(**values: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode() for name, value in values.items()}


def test_headers_that_say_nothing_are_the_usual_terms() -> None:
    assert terms_of(fields(host="here")) is USUAL


@pytest.mark.parametrize(
    ("headers", "terms"),
    [
        (fields(x_request_timeout_ms="250"), Terms(0.25)),
        (fields(x_priority="bulk"), Terms(None, bulk=True)),
        (fields(x_priority="interactive", x_request_timeout_ms="1"), Terms(0.001)),
        (fields(x_request_timeout_ms="00000000000250"), Terms(0.25)),
        (fields(x_request_timeout_ms="1000000000"), Terms(math.inf)),
        (fields(x_request_timeout_ms="1" + 400 * "0"), Terms(math.inf)),
    ],
)
def test_headers_name_the_terms(headers: dict[bytes, bytes], terms: Terms) -> None:
    assert terms_of(headers) == terms


@pytest.mark.row(9)
@pytest.mark.parametrize(
    "timeout_ms", ["", "0", "-1", "1.5", "1e3", "0000000000", "soon", "abc", "\u0665"]
)
def test_a_timeout_is_a_whole_number_of_milliseconds(timeout_ms: str) -> None:
    with pytest.raises(RequestError, match="whole number of milliseconds"):
        terms_of(fields(x_request_timeout_ms=timeout_ms))


@pytest.mark.parametrize("priority", ["", "high", "BULK"])
def test_there_are_two_priorities(priority: str) -> None:
    with pytest.raises(RequestError, match="neither interactive nor bulk"):
        terms_of(fields(x_priority=priority))


@pytest.mark.parametrize("header", ["X-Request-Timeout-Ms", "X-Priority"])
async def test_terms_that_are_none_are_refused(tmp_path: Path, door: Door, header: str) -> None:
    async with working(tmp_path, numbers()) as worker, door(worker) as way:
        answer = await way.post_json(ROW, headers={header: "now"})
        assert (answer.status, answer.json["code"]) == (400, "malformed")
        assert (await way.post_json(ROW)).status == 200


async def deadline_of(worker: Worker, way: object, **headers: str) -> float:
    """Seconds from a request's begin to the deadline of its row."""
    answer = await way.post_json(  # type: ignore[attr-defined]
        ROW, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    assert answer.status == 200
    _, slot = await worker.engine.next()
    arena = worker.models[0].arena
    return float(arena.deadline_s[slot] - arena.submitted_s[slot])


@pytest.mark.row(9)
@pytest.mark.parametrize(
    ("timeout_ms", "seconds"),
    [("", 60), ("20000", 20), ("999999", 80), ("1000000000", 80), ("1" + 400 * "0", 80)],
)
async def test_a_request_may_name_its_deadline_up_to_a_limit(
    tmp_path: Path, door: Door, timeout_ms: str, seconds: float
) -> None:
    named = {"X_Request_Timeout_Ms": timeout_ms} if timeout_ms else {}
    async with working(tmp_path, numbers(), server=LONG) as worker, door(worker) as way:
        left_s = await deadline_of(worker, way, **named)
        assert seconds - 5 < left_s <= seconds


async def test_a_deadline_of_its_own_ends_a_request(tmp_path: Path, door: Door) -> None:
    async with (
        working(tmp_path, numbers(), server=LONG, verdict=None) as worker,
        door(worker) as way,
    ):
        answer = await way.post_json(ROW, headers={"X-Request-Timeout-Ms": "30"})
        assert (answer.status, answer.json["code"]) == (504, "deadline_exceeded")
        worker.engine.answer(await worker.engine.next(), Verdict.CANCELLED)
        await worker.slots_are_used(0)


@pytest.mark.parametrize(("priority", "bulk"), [("bulk", 1), ("interactive", 0)])
async def test_bulk_rows_are_marked(tmp_path: Path, door: Door, priority: str, bulk: int) -> None:
    async with working(tmp_path, numbers()) as worker, door(worker) as way:
        assert (await way.post_json(ROW, headers={"X-Priority": priority})).status == 200
        _, slot = await worker.engine.next()
        assert worker.models[0].arena.bulk[slot] == bulk
