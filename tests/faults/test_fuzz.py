"""Whatever a client sends is answered, in time, as the documents say, and kills nobody."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.faults.conftest import Say
from tests.faults.fuzzing import complaint, fuzz, smallest, write_failures
from tests.faults.hostile import TOKEN, mutated_bytes, mutated_json
from tests.faults.kept import Reply, address_of, first_reply, get, post, without_interim

REPORTS = Path("reports")
SEED = 46


def reply(status: int, body: bytes, kind: str = "application/problem+json", *more: str) -> Reply:
    lines = [f"http/1.1 {status} x", f"content-type: {kind}", f"content-length: {len(body)}", *more]
    return Reply(status, "\r\n".join(lines).encode(), body)


PROBLEM = b'{"type":"","title":"","status":400,"code":"","detail":"%b","request_id":""}'


@pytest.mark.parametrize(
    "answer",
    [
        reply(500, PROBLEM % b"a bug"),
        reply(400, PROBLEM % b"0x7f08"),
        reply(400, PROBLEM % (b"a" * 512)),
        reply(422, PROBLEM % b""),
        reply(400, b"Bad request.", "text/plain"),
        reply(400, b'{"detail":[]}', "application/json"),
        reply(429, PROBLEM.replace(b"400", b"429") % b"full"),
        reply(200, b'{"score":NaN}', "application/json"),
    ],
    ids=["500", "address", "large", "status", "plain", "FastAPI's", "Retry-After", "NaN"],
)
def test_an_answer_that_is_not_as_it_must_be_is_seen(answer: Reply) -> None:
    assert complaint(get("/predict"), answer)
    assert not complaint(get("/predict"), reply(400, PROBLEM % b"not JSON"))
    assert not complaint(get("/v2"), reply(404, b'{"error":"none"}', "application/json"))


def test_a_failure_is_made_small() -> None:
    request = post("/predict", b'{"text":"a","poison":[1,2,3],"more":true}', "text/plain", "X-A: 1")

    less = smallest(request, lambda data: data.startswith(b"POST /pr") and b"poison" in data)

    assert less == b"POST /pr\r\n\r\npoison"


def test_json_that_is_changed_differs_and_bytes_too() -> None:
    rng = random.Random(SEED)
    body = b'{"items":[{"text":"good"},{"text":"bad"}]}'
    tokens = TOKEN.findall(body)

    assert b"".join(tokens) == body
    assert len({mutated_json(rng, tokens) for _ in range(200)}) > 150
    assert len({mutated_bytes(rng, body) for _ in range(200)}) > 150


def test_an_interim_answer_is_none_of_its_own() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    assert without_interim(interim) == b""
    assert first_reply(interim + b"HTTP/1.1 204 No Content\r\n\r\n") == (
        204, b"http/1.1 204 no content", b"",
    )  # fmt: skip


@pytest.mark.e2e
@pytest.mark.row(46)
@pytest.mark.parametrize("clients", [2, pytest.param(4, marks=pytest.mark.faults)])
def test_no_request_is_a_bug(
    every_task: Service, pytestconfig: pytest.Config, say: Say, clients: int
) -> None:
    seed = pytestconfig.getoption("--fuzz-seed")
    requests = 5_000 if clients == 2 else pytestconfig.getoption("--fuzz-requests")

    report = fuzz(address_of(every_task.url), seed, requests, clients, say)

    say(f"fuzz: seed {seed}, answers {sorted(report.statuses.items())}")
    assert not report.failures, write_failures(report, seed, REPORTS)
    assert report.requests == requests
    for kind in (2, 4):  # it asks for the right things too
        answered = sum(n for status, n in report.statuses.items() if status // 100 == kind)
        assert answered > requests / 5
    assert every_task.request("/readyz").status == 200
