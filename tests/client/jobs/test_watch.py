"""Waiting for one answer."""

from __future__ import annotations

from typing import Any

import pytest

from inferctl import client as clients
from inferctl.client.exchange import LONGEST_PAUSE_S, Patience, Pause
from inferctl.client.jobs.dialogue import JobDialogue
from inferctl.client.jobs.watch import Watch
from tests.client.asking import Asking
from tests.client.jobs.fake import Fake
from tests.client.scripted import Answer, Clock, scripted


def test_the_answer_is_that_of_a_prediction(client: Any) -> None:
    job = client.submit("good film")
    answer = job.result()

    assert isinstance(answer, clients.TextLabel)
    assert (answer.label, answer.version, answer.request_id) == ("good", 3, f"{job.id}.0")


def test_a_refused_input_raises_what_a_prediction_would_have(client: Any) -> None:
    with pytest.raises(clients.BadRequest) as raised:
        client.submit("").result()
    assert (raised.value.status, raised.value.code) == (422, "empty_text")


def test_it_is_looked_at_no_more_often_than_the_server_wants(
    client: Any, server: Fake, clock: Clock
) -> None:
    server.pace, server.retry_after = 0, "3"
    with pytest.raises(clients.DeadlineExceeded, match=r"is queued after 10 s; it goes on"):
        client.submit("good").result(timeout_s=10)

    assert 3 <= clock.pauses_s[0] <= 3.75
    assert sum(clock.pauses_s) == pytest.approx(10, abs=0.1)


def test_what_has_not_changed_is_answered_in_short(client: Any, server: Fake) -> None:
    server.pace, server.retry_after = 0, "1"
    with pytest.raises(clients.DeadlineExceeded):
        client.submit("good").result(timeout_s=5)

    first, *others = server.sent("GET")
    assert "if-none-match" not in first.headers
    assert {one.headers["if-none-match"] for one in others} == {'"1"'}


def test_the_job_goes_on_after_the_time_is_over(client: Any, server: Fake) -> None:
    server.pace = 0
    job = client.submit("good")
    with pytest.raises(clients.DeadlineExceeded):
        job.result(timeout_s=1)
    server.pace = 1
    assert job.result(timeout_s=1).label == "good"


def test_without_a_word_of_the_server_the_pauses_grow(asking: Asking, clock: Clock) -> None:
    status = {
        "id": "1" * 32, "state": "queued", "model": "m", "version": "", "items": 1,
        "done_items": 0, "failed_items": 0, "attempts": 0, "created_at": "2026-11-27T04:00:00Z",
        "progress": 0,
    }  # fmt: skip
    with (
        scripted(*[Answer(200, status)] * 100) as server,
        asking.of(server.url, now=clock.now, pause=clock.pause).open() as client,
        pytest.raises(clients.DeadlineExceeded),
    ):
        client.job("1" * 32).result(timeout_s=30)

    first_s, second_s, *_, before_last_s, _ = clock.pauses_s
    assert 0.075 <= first_s <= 0.1
    assert first_s < second_s < before_last_s <= 2


def test_a_wait_of_days_goes_on(clock: Clock) -> None:
    dialogue = JobDialogue(30, Patience(3, clock.now, lambda: 0.0))
    watch = Watch(dialogue, "1" * 32, None)

    pauses = [next(watch.pause()) for _ in range(2000)]

    assert pauses[-1] == Pause(LONGEST_PAUSE_S)


def test_who_does_not_want_to_wait_is_told_what_there_is(client: Any, server: Fake) -> None:
    job = client.submit("good")
    assert job.result(timeout_s=0).label == "good"

    server.pace = 0
    with pytest.raises(clients.DeadlineExceeded, match="is queued after 0 s"):
        client.submit("good").result(timeout_s=0)
    with pytest.raises(clients.NotFound):
        client.job("f" * 32).result(timeout_s=0)


def test_a_server_that_is_away_for_a_while_is_waited_for(client: Any, server: Fake) -> None:
    job = client.submit("good")
    server.refusals = 8
    assert job.result().label == "good"


def test_a_server_that_stays_away_is_not(client: Any, server: Fake, clock: Clock) -> None:
    job = client.submit("good")
    server.refusals = 1_000
    with pytest.raises(clients.Unavailable):
        job.result()
    assert sum(clock.pauses_s) <= 30


def test_who_cancelled_it_gets_no_answer(client: Any) -> None:
    job = client.submit("good")
    job.cancel()
    with pytest.raises(clients.Conflict, match="the job was cancelled"):
        job.result()


def test_what_is_forgotten_is_gone(client: Any, server: Fake) -> None:
    job = client.submit("good")
    server.only.state = "expired"
    with pytest.raises(clients.Gone):
        job.result()


@pytest.mark.parametrize(("texts", "asked"), [(["good"], 2), (["good", "bad"], 1)])
def test_many_results_are_no_answer_and_are_not_waited_for_or_read(
    client: Any, server: Fake, texts: list[str], asked: int
) -> None:
    """Of a job of many with one item only its answer says so."""
    (job,) = client.submit_many(texts).jobs
    with pytest.raises(clients.InvalidInput, match=r"iterate over results\(\)"):
        job.result()
    assert len(server.sent("GET")) == asked
