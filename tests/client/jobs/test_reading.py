"""Results of many items, in order, as they come."""

from __future__ import annotations

from typing import Any

import pytest

from inferctl import client as clients
from inferctl.client.jobs import reading
from tests.client.jobs.fake import Fake

TEXTS = [f"{'good' if number % 3 else 'bad'} {number}" for number in range(20)]


def labels(outcomes: list[Any]) -> list[str]:
    return [
        outcome.code if isinstance(outcome, clients.ClientError) else outcome.label
        for outcome in outcomes
    ]


EXPECTED = [text.split()[0] for text in TEXTS]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("pace", [1, 7, 20])
def test_they_come_in_order_however_they_are_done(
    client: Any, server: Fake, pace: int, backwards: bool
) -> None:
    server.pace, server.backwards = pace, backwards
    (job,) = client.submit_many(TEXTS).jobs

    assert labels(list(job.results())) == EXPECTED


def test_they_come_before_the_job_is_over(client: Any, server: Fake) -> None:
    server.pace = 5
    results = client.submit_many(TEXTS).results()

    assert next(results).label == "bad"
    assert server.only.state == "running"
    assert len(server.only.results) == 5


def test_what_was_read_is_not_read_again(client: Any, server: Fake) -> None:
    server.pace = 5
    list(client.submit_many(TEXTS).results())

    paths = [one.path for one in server.sent("GET") if "/result" in one.path]
    assert [path.partition("?")[2] for path in paths] == ["", "first=5", "first=10", "first=15"]


@pytest.mark.parametrize("most_bytes", [10, 500])
def test_long_results_are_read_in_parts(
    client: Any, server: Fake, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", most_bytes)
    # So long that they do not arrive in one piece.
    texts = [f"{text.replace(' ', '-' * 40_000)}" for text in TEXTS]
    outcomes = list(client.submit_many(texts).results())

    assert labels(outcomes) == texts
    assert len(server.sent("GET")) > 5


def test_errors_are_in_their_places(client: Any) -> None:
    outcomes = list(client.submit_many(["good", "", "bad"]).results())
    assert labels(outcomes) == ["good", "empty_text", "bad"]


def test_where_all_fail_each_has_its_error(client: Any, server: Fake) -> None:
    outcomes = list(client.submit_many(["", ""]).results())
    assert server.only.state == "failed"
    assert labels(outcomes) == ["empty_text", "empty_text"]


def test_a_cancelled_job_tells_what_it_has_and_what_it_will_never_have(
    client: Any, server: Fake
) -> None:
    server.pace = 2
    jobs = client.submit_many(["good", "bad", "good", "bad"])
    jobs.status()
    jobs.cancel()

    assert labels(list(jobs.results())) == ["good", "bad", "conflict", "conflict"]


def test_a_job_that_ran_out_of_attempts_says_so_of_each_item(client: Any, server: Fake) -> None:
    server.pace = 0
    jobs = client.submit_many(["good", "bad"])
    job = server.only
    job.results[1] = {
        "item": 1, "status": 500,
        "problem": {"status": 500, "code": "engine_crash", "detail": "it crashed", "hint": ""},
    }  # fmt: skip
    job.state = "failed"

    first, second = jobs.results()
    assert isinstance(first, clients.PredictionFailed)
    assert second.code == "engine_crash"


@pytest.mark.parametrize(("text", "expected"), [("good", ["good"]), ("", ["empty_text"])])
def test_a_job_of_one_input_has_one_outcome(client: Any, text: str, expected: list[str]) -> None:
    assert labels(list(client.submit(text).results())) == expected


def test_one_answer_may_be_longer_than_a_part(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 10)
    # So long that it does not arrive in one piece.
    text = "good" * 100_000
    assert labels(list(client.submit(text).results())) == [text]


def test_the_time_may_be_over_in_the_middle(client: Any, server: Fake) -> None:
    server.pace, server.retry_after = 1, "1"
    results = client.submit_many(TEXTS).results(timeout_s=4.5)
    told: list[Any] = []
    with pytest.raises(clients.DeadlineExceeded, match=r"is running after 4\.5 s"):
        told.extend(results)
    assert 4 <= len(told) <= 6


def test_an_answer_that_breaks_off_is_asked_for_again(client: Any, server: Fake) -> None:
    results = client.submit_many(TEXTS).results()
    server.broken_answers = 4
    assert labels(list(results)) == EXPECTED
