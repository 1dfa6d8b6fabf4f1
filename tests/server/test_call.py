"""One request: its id, what its headers say, its answer."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping

import orjson
import pytest

from inferctl.arena.metric import OUTCOMES
from inferctl.errors import InferctlError
from inferctl.refusals import Overloaded, RequestError, Unavailable, Unprocessable, UnsupportedMedia
from inferctl.server.call import PHASES, Reply, announced_bytes, as_headers, problem

from .asgi import make_call


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 64])
def test_a_request_id_is_taken_over(given: str) -> None:
    assert make_call(headers={"X-Request-ID": given}).request_id == given.encode()


@pytest.mark.parametrize(
    "given", ["", "x" * 65, "a b", "a\nb", "a/b", "ä", "<script>", "a,b", "a\0"]
)
def test_an_odd_request_id_is_replaced(given: str) -> None:
    assert re.fullmatch(b"[0-9a-f]{16}", make_call(headers={"X-Request-ID": given}).request_id)


def test_every_request_gets_an_id_of_its_own() -> None:
    assert len({make_call().request_id for _ in range(100)}) == 100


def test_a_part_is_the_same_request_with_durations_of_its_own() -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    call = make_call(headers={"traceparent": trace}, path="/v1/predict", query="a=1")
    call.model, call.version = "m", 3
    part = call.part()
    assert vars(part) == vars(call)
    part.phases_ms.append(1.0)
    part.end(time.monotonic())
    assert (call.phases_ms, call.ended_s) == ([], 0.0)


def test_the_ids_of_two_forks_and_their_parent_differ() -> None:
    parent = make_call().request_id
    first, second = (in_a_fork(lambda: make_call().request_id) for _ in range(2))
    assert len({request_id[:8] for request_id in (parent, first, second)}) == 3


def in_a_fork(say: Callable[[], bytes]) -> bytes:
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(theirs, say())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as said:
        text = said.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


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
    assert make_call(query=query).query() == expected


@pytest.mark.parametrize("query", ["ä=1", "&".join(f"k{n}=" for n in range(33))], ids=[0, 1])
def test_an_odd_query_is_malformed(query: str) -> None:
    with pytest.raises(RequestError, match="query string"):
        assert make_call(query=query).query()


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


@pytest.mark.parametrize(
    ("announced", "expected"),
    [(None, 0), ("0", 0), ("17", 17), ("many", 0), ("-1", 0), ("", 0), ("²", 0), ("1, 1", 0)],
)
def test_a_body_is_as_long_as_announced(announced: str | None, expected: int) -> None:
    headers = {} if announced is None else {"Content-Length": announced}
    assert announced_bytes(make_call(headers=headers).fields) == expected


def test_an_answer_carries_its_id_and_its_timings_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = make_call(headers={"X-Request-ID": "me"})
    call.phases_ms += (1.23456, 0)
    call.begun_s = -0.0075
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    call.end(time.monotonic())
    assert as_headers(Reply(200, b"{}", extra=b"allow: POST\r\n").head(call)) == [
        (b"content-type", b"application/json"),
        (b"content-length", b"2"),
        (b"allow", b"POST"),
        (b"x-request-id", b"me"),
        (b"server-timing", b"decode;dur=1.235, queue;dur=0.000, total;dur=7.500"),
    ]


@pytest.mark.parametrize("reached", range(len(PHASES) + 1))
def test_the_phases_that_were_reached_are_timed(reached: int) -> None:
    call = make_call()
    call.phases_ms += [0.5] * reached
    call.end(time.monotonic())
    (timing,) = re.findall(rb"server-timing: (.+)\r\n", call.head())
    parts = [f"{phase};dur=0.500" for phase in PHASES[:reached]]
    assert timing.decode() == ", ".join([*parts, f"total;dur={call.total_ms:.3f}"])


def test_a_problem_says_what_went_wrong_and_what_to_do() -> None:
    call = make_call(headers={"X-Request-ID": "me"})
    reply = problem(Unprocessable("the text is empty", hint="send some"), call)
    assert (reply.status, reply.outcome) == (422, "unprocessable")
    assert reply.content_type == b"application/problem+json"
    assert reply.extra == b""
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
    assert problem(error, make_call()).extra == b"retry-after: 7\r\nretry-after-ms: 7000\r\n"


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
