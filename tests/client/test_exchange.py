"""When a client asks again, when it does not, and what it says then."""

from __future__ import annotations

from contextlib import ExitStack
from threading import Event

import pytest

from inferctl import client
from inferctl.client.exchange import TimeLeft
from tests.client.asking import Asking
from tests.client.scripted import Answer, Clock, Refusal, Silence, free_port, problem, scripted

OVERLOADED = problem(429, "overloaded", retry_after="2")


def with_clock(asking: Asking, url: str, clock: Clock, **settings: float) -> Asking:
    return asking.of(url, now=clock.now, pause=clock.pause, **settings)


@pytest.mark.parametrize(("status", "code"), [(429, "overloaded"), (503, "unavailable")])
def test_a_refusal_is_asked_again_no_sooner_than_the_server_says(
    asking: Asking, status: int, code: str
) -> None:
    clock = Clock()
    with scripted(problem(status, code, retry_after="2")) as server:
        answer = with_clock(asking, server.url, clock).predict("a good film")

    assert answer.label == "good"
    assert len(server.received) == 2
    (pause_s,) = clock.pauses_s
    assert 2 <= pause_s <= 2.5


def test_a_connection_that_ends_before_the_answer_is_asked_again_sooner_each_time(
    asking: Asking,
) -> None:
    clock = Clock()
    with scripted(Refusal(), Refusal()) as server:
        answer = with_clock(asking, server.url, clock).predict("good")

    assert answer.version == 3
    first_s, second_s = clock.pauses_s
    assert 0.075 <= first_s <= 0.1 < second_s <= 0.2


def test_a_server_that_comes_up_in_the_meantime_answers(asking: Asking) -> None:
    port = free_port()
    clock = Clock()
    with ExitStack() as servers:

        def pause(seconds: float) -> None:
            clock.pause(seconds)
            servers.enter_context(scripted(port=port))

        late = asking.of(f"http://127.0.0.1:{port}", now=clock.now, pause=pause)
        assert late.predict("good").label == "good"
    assert len(clock.pauses_s) == 1


def test_nobody_there_is_an_error_after_all_retries(asking: Asking) -> None:
    clock = Clock()
    error = with_clock(asking, f"http://127.0.0.1:{free_port()}", clock, max_retries=2).failure("x")

    assert isinstance(error, client.Unreachable)
    assert (error.status, error.code) == (None, "unreachable")
    assert "inferctl serve" in error.hint
    assert len(clock.pauses_s) == 2


def test_the_server_is_told_the_time_that_is_left(asking: Asking) -> None:
    clock = Clock()
    with scripted(OVERLOADED) as server:
        with_clock(asking, server.url, clock).predict("good", timeout_s=10)

    first, second = (int(one.headers["x-request-timeout-ms"]) for one in server.received)
    assert first == 10_000
    assert second == pytest.approx(10_000 - 1000 * sum(clock.pauses_s), abs=1)


def test_it_is_not_asked_again_when_the_deadline_comes_first(asking: Asking) -> None:
    clock = Clock()
    with scripted(OVERLOADED) as server:
        error = with_clock(asking, server.url, clock, timeout_s=1.5).failure("good")

    assert isinstance(error, client.Overloaded)
    assert len(server.received) == 1
    assert clock.pauses_s == []


def test_milliseconds_tell_more_than_seconds(asking: Asking) -> None:
    clock = Clock()
    exact = problem(429, "overloaded", **{"retry-after": "1", "retry-after-ms": "40"})
    with scripted(exact) as server:
        with_clock(asking, server.url, clock).predict("good")

    (pause_s,) = clock.pauses_s
    assert 0.04 <= pause_s <= 0.05


def test_a_date_in_retry_after_is_understood(asking: Asking) -> None:
    clock = Clock()
    long_ago = problem(503, "unavailable", retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    with scripted(long_ago) as server:
        with_clock(asking, server.url, clock).predict("good")

    assert clock.pauses_s == [0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, client.BadRequest),
        (401, client.NotAllowed),
        (404, client.NotFound),
        (413, client.BadRequest),
        (422, client.BadRequest),
        (500, client.PredictionFailed),
        (504, client.DeadlineExceeded),
    ],
)
def test_other_errors_are_final_and_carry_what_the_server_says(
    asking: Asking, status: int, kind: type[client.ClientError]
) -> None:
    with scripted(problem(status, "some_code", retry_after="0")) as server:
        error = asking.of(server.url).failure("good")

    assert type(error) is kind
    assert (error.status, error.code) == (status, "some_code")
    assert str(error) == "it is some_code; do otherwise"
    assert error.request_id == server.received[0].headers["x-request-id"]
    assert len(server.received) == 1


def test_an_answer_that_breaks_off_is_final(asking: Asking) -> None:
    with scripted(Answer(missing=5)) as server:
        error = asking.of(server.url).failure("good")

    assert isinstance(error, client.Unreachable)
    assert "broke off" in error.detail
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(content=b"<html>"),
        Answer(content={}),
        Answer(content=[]),
        Answer(302, headers={"location": "/elsewhere"}),
    ],
)
def test_the_answer_of_another_server_is_called_so(asking: Asking, answer: Answer) -> None:
    with scripted(answer) as server:
        error = asking.of(server.url).failure("good")

    assert isinstance(error, client.UnexpectedAnswer)
    assert error.status == answer.status


def test_no_answer_in_time_is_an_error_at_the_deadline(asking: Asking) -> None:
    over = Event()
    with scripted(Silence(over)) as server:
        error = asking.of(server.url).failure("good", timeout_s=0.05)
        over.set()

    assert isinstance(error, client.DeadlineExceeded)
    assert error.request_id == server.received[0].headers["x-request-id"]
    assert len(server.received) == 1


def test_each_wait_gets_the_time_that_is_left_then() -> None:
    """A server that sends a byte now and then must not hold a request for ever."""
    clock = Clock()
    time_left = TimeLeft(5, clock.now)
    clock.now_s += 3
    assert dict(time_left) == dict.fromkeys(("connect", "read", "write", "pool"), 2)
    clock.now_s += 3
    assert 0 < time_left["read"] < 0.01


def test_all_attempts_have_the_same_request_id(asking: Asking) -> None:
    with scripted(OVERLOADED, OVERLOADED) as server:
        answer = with_clock(asking, server.url, Clock()).predict("good")

    assert {one.headers["x-request-id"] for one in server.received} == {answer.request_id}


def test_what_is_chosen_is_sent(asking: Asking) -> None:
    with scripted() as server:
        asking.of(server.url, api_key="secret", headers={"x-team": "vision"}).predict(
            b"\xff\xd8", model="shapes", version=3, confidence_threshold=0.2, priority="bulk"
        )

    (request,) = server.received
    assert request.method == "POST"
    assert request.path == "/models/shapes/predict?confidence_threshold=0.2&version=3"
    sent = [request.headers[name] for name in ("authorization", "x-team", "x-priority")]
    assert sent == ["Bearer secret", "vision", "bulk"]
    assert request.headers["content-type"] == "image/jpeg"
    assert request.body == b"\xff\xd8"


def test_connections_are_kept() -> None:
    with scripted() as server, client.Client(server.url) as one:
        for _ in range(3):
            one.predict("good")

    assert server.connections == 1


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:port", "http://h/?q=1"])
def test_what_is_no_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(client.InvalidInput, match="not the URL of a server"):
        client.Client(url)


def test_a_key_that_no_header_can_hold_is_refused_at_once() -> None:
    with pytest.raises(client.InvalidInput, match="authorization is not ASCII"):
        client.Client(api_key="ключ")


def test_ready_is_false_while_it_loads_and_when_nobody_is_there(asking: Asking) -> None:
    with scripted(Answer(503, {"ready": False}), Answer(200, {"ready": True})) as server:
        answers = [asking.of(server.url)("ready") for _ in range(2)]
        received = len(server.received)
    assert answers == [False, True]
    assert received == 2
    assert asking.of(server.url)("ready") is False


def test_an_older_server_s_health_is_understood(asking: Asking) -> None:
    model = {"version": 2, "task": "tensor", "state": "ready", "device": "cpu", "queue_rows": 1}
    document = {
        "status": "ok", "model_loaded": True, "models": {"sums": model}, "device": None,
        "uptime_s": 1.5, "warnings": [],
    }  # fmt: skip
    with scripted(Answer(200, document)) as server:
        health = asking.of(server.url)("health")
    assert (health.models["sums"].queue_rows, health.workers, health.engine) == (1, 0, "")
