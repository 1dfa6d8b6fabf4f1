"""One request: its id, its body, its wait, its answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import orjson
import pytest

from inferctl.arena.ledger import OUTCOMES
from inferctl.errors import (
    ClientGone,
    InferctlError,
    Overloaded,
    RequestError,
    TooLarge,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)
from inferctl.server.call import Reply, problem

from .asgi import DISCONNECT, Answer, make_call, part
from .loop import look_once


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
def test_a_request_id_is_taken_over(given: str) -> None:
    assert make_call(headers={"X-Request-ID": given}).request_id == given


@pytest.mark.parametrize(
    "given", ["", "x" * 65, "a b", "a\nb", "a/b", "ä", "<script>", "a,b", "a\0"]
)
def test_an_odd_request_id_is_replaced(given: str) -> None:
    assert re.fullmatch("[0-9a-f]{16}", make_call(headers={"X-Request-ID": given}).request_id)


def test_every_request_gets_an_id_of_its_own() -> None:
    assert len({make_call().request_id for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1&a=2", {"a": "2"}),
        ("a", {"a": ""}),
        ("a=%20%C3%A4+", {"a": " ä "}),
        ("&".join(f"k{n}=" for n in range(32)), {f"k{n}": "" for n in range(32)}),
    ],
    ids=range(6),
)
def test_the_query_is_parsed(query: str, expected: Mapping[str, str]) -> None:
    assert make_call(query=query).query == expected


@pytest.mark.parametrize("query", ["ä=1", "&".join(f"k{n}=" for n in range(33))], ids=[0, 1])
def test_an_odd_query_is_malformed(query: str) -> None:
    with pytest.raises(RequestError, match="query string"):
        assert make_call(query=query).query


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        (" image/png ;q=1;x", "image/png"),
        ("", ""),
        ("ä", "ä"),
    ],
)
def test_a_content_type_is_read_without_its_parameters(given: str, expected: str) -> None:
    assert make_call(headers={"Content-Type": given}).media_type() == expected
    assert make_call().media_type() == ""


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip", "", "x"])
def test_a_compressed_body_is_unsupported(encoding: str) -> None:
    with pytest.raises(UnsupportedMedia, match="compressed"):
        make_call(headers={"Content-Encoding": encoding}).media_type()


def test_an_identity_encoding_is_none() -> None:
    headers = {"Content-Encoding": "Identity", "Content-Type": "text/plain"}
    assert make_call(headers=headers).media_type() == "text/plain"


async def test_a_body_is_put_together_from_its_parts() -> None:
    call = make_call(part(b"one ", more=True), part(b"", more=True), part(b"two"))
    assert await call.body(7) == b"one two"
    assert call.body_bytes == 7
    assert call.body_received


async def test_a_message_without_body_is_an_empty_body() -> None:
    assert await make_call({"type": "http.request"}).body(0) == b""


async def test_a_body_too_long_by_its_own_account_is_refused_unread() -> None:
    call = make_call(headers={"Content-Length": "11"})  # nothing is sent: reading would wait
    with pytest.raises(TooLarge, match="larger than 10 bytes"):
        await call.body(10)


async def test_a_body_as_long_as_the_limit_is_taken() -> None:
    assert await make_call(part(b"x" * 10), headers={"Content-Length": "10"}).body(10) == b"x" * 10


@pytest.mark.parametrize("announced", [None, "1", "many", "-1", "²"])
async def test_a_body_is_counted_whatever_it_announced(announced: str | None) -> None:
    headers = {"Content-Length": announced} if announced else {}
    call = make_call(part(b"x" * 6, more=True), part(b"x" * 5, more=True), headers=headers)
    with pytest.raises(TooLarge):
        await call.body(10)
    assert not call.body_received


async def test_a_client_that_leaves_while_sending_is_gone() -> None:
    call = make_call(part(b"half", more=True), DISCONNECT)
    with pytest.raises(ClientGone, match="sending"):
        await call.body(10)
    assert (call.body_bytes, call.body_received) == (4, False)


async def test_a_client_that_leaves_while_waiting_is_gone() -> None:
    answered = asyncio.get_running_loop().create_future()
    with pytest.raises(ClientGone, match="waiting"):
        await make_call(DISCONNECT).wait(answered)


async def test_an_answer_ends_the_wait_and_nothing_is_left_behind() -> None:
    answered = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(make_call().wait(answered))
    await look_once()
    assert not waiting.done()
    answered.set_result(None)
    await waiting
    await look_once()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_failed_row_ends_the_wait_with_its_error() -> None:
    answered = asyncio.get_running_loop().create_future()
    answered.set_exception(Unprocessable("no"))
    with pytest.raises(Unprocessable):
        await make_call().wait(answered)


async def test_a_client_that_leaves_after_the_answer_changes_nothing() -> None:
    answered = asyncio.get_running_loop().create_future()
    answered.set_result(None)
    await make_call(DISCONNECT).wait(answered)
    await look_once()
    assert answered.exception() is None


async def test_an_answer_carries_its_id_and_its_timings_in_order() -> None:
    call = make_call(headers={"X-Request-ID": "me"})
    call.mark("decode", 1.23456)
    call.mark("queue", 0)
    answer = Answer()
    await Reply(200, b"{}").send(call, answer.take)
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == "2"
    assert answer.headers["x-request-id"] == "me"
    assert re.fullmatch(
        r"decode;dur=1\.235, queue;dur=0\.000, total;dur=\d+\.\d{3}",
        answer.headers["server-timing"],
    )


def test_a_problem_says_what_went_wrong_and_what_to_do() -> None:
    call = make_call(headers={"X-Request-ID": "me"})
    reply = problem(Unprocessable("the text is empty", hint="send some"), call)
    assert (reply.status, reply.outcome) == (422, "unprocessable")
    assert reply.content_type == b"application/problem+json"
    assert reply.headers == []
    assert orjson.loads(reply.body) == {
        "type": "about:blank",
        "title": "unprocessable",
        "status": 422,
        "code": "unprocessable",
        "detail": "the text is empty",
        "request_id": "me",
        "hint": "send some",
    }


def test_a_problem_without_advice_has_no_hint() -> None:
    assert "hint" not in orjson.loads(problem(Unprocessable("no"), make_call()).body)


@pytest.mark.parametrize(
    "error", [Overloaded("full", retry_after_s=7), Unavailable("down", retry_after_s=7)]
)
def test_a_problem_that_passes_says_when_to_come_back(error: InferctlError) -> None:
    assert problem(error, make_call()).headers == [(b"retry-after", b"7")]


def test_a_problem_never_tells_where() -> None:
    reply = problem(InferctlError("broken", where="/etc/inferctl"), make_call())
    assert b"/etc" not in reply.body
    assert reply.status == 500


def subclasses(error: type[InferctlError]) -> set[type[InferctlError]]:
    return {error}.union(*(subclasses(child) for child in error.__subclasses__()))


def test_every_way_a_request_ends_can_be_counted() -> None:
    codes = {error.code for error in subclasses(RequestError)} | {
        InferctlError.code,
        Reply(200, b"").outcome,
    }
    assert codes == set(OUTCOMES)
