"""Many inputs in few jobs."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from inferctl import client as clients
from inferctl.client.exchange import Encode, Patience
from inferctl.client.jobs import bulk
from inferctl.client.jobs.bulk import Bulk
from inferctl.client.jobs.dialogue import JobDialogue
from tests.client.jobs.fake import Fake
from tests.client.jobs.test_reading import labels
from tests.client.scripted import Clock


def test_what_fits_into_a_request_is_one_job(client: Any, server: Fake) -> None:
    jobs = client.submit_many(["good", b"\xff\xd8"], model="mood", version="stable", top_k=1)

    (request,) = server.received
    assert request.path == "/jobs?model=mood&version=stable"
    assert request.headers["content-type"] == "application/x-ndjson"
    image = base64.b64encode(b"\xff\xd8").decode()
    assert list(map(json.loads, request.body.splitlines())) == [
        {"text": "good", "top_k": 1}, {"image_b64": image, "top_k": 1},
    ]  # fmt: skip
    assert jobs.items == 2


@pytest.mark.parametrize(("limit", "value"), [("MOST_BYTES", 60), ("MOST_ITEMS", 3)])
def test_what_does_not_fit_is_more_jobs_with_results_in_order(
    client: Any, server: Fake, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(bulk, limit, value)
    texts = [f"text-{number}" for number in range(10)]

    jobs = client.submit_many(texts)

    assert [len(job.items) for job in server.jobs.values()] == [3, 3, 3, 1]
    assert [job.id for job in jobs.jobs] == list(server.jobs)
    assert labels(list(jobs.results())) == texts


def test_a_server_that_takes_less_gets_it_in_halves(client: Any, server: Fake) -> None:
    server.max_body_bytes = 60
    texts = [f"text-{number}" for number in range(9)]
    texts[5] = "x" * 60

    outcomes = list(client.submit_many(texts).results())

    assert labels(outcomes) == [*texts[:5], "too_large", *texts[6:]]
    assert all(len(job.body) <= 60 for job in server.jobs.values())


def test_what_cannot_be_sent_is_an_error_in_its_place(
    client: Any, server: Fake, tmp_path: Path
) -> None:
    outcomes = list(client.submit_many([tmp_path / "no.png", "good", "\ud800"]).results())

    assert labels(outcomes) == ["invalid_input", "good", "invalid_input"]
    assert len(server.only.items) == 1


def test_a_text_is_no_work_for_a_thread() -> None:
    """An image is."""
    bulk_of_both = Bulk(JobDialogue(30, Patience(0, Clock().now, lambda: 0.0)), {}, None)
    assert list(bulk_of_both.add("good")) == []
    assert isinstance(next(bulk_of_both.add(b"\xff\xd8")), Encode)


@pytest.mark.parametrize("inputs", [[], ["\ud800"]])
def test_nothing_to_do_is_no_job(client: Any, server: Fake, inputs: list[str]) -> None:
    jobs = client.submit_many(inputs)
    assert server.received == []
    assert len(list(jobs.results())) == len(inputs)


def test_all_are_jobs_or_none_is(
    client: Any, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ITEMS", 1)

    def inputs() -> Iterator[str]:
        yield from ("one", "two", "three")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.submit_many(inputs())
    assert [job.state for job in server.jobs.values()] == ["cancelled", "cancelled"]


def test_the_same_inputs_with_the_same_key_are_the_same_jobs(
    client: Any, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ITEMS", 2)
    first, again = (client.submit_many(["a", "b", "c"], idempotency_key="mine") for _ in range(2))
    assert [job.id for job in first.jobs] == [job.id for job in again.jobs]
    assert len(server.jobs) == 2


@pytest.mark.parametrize(
    ("lost", "state", "notes"),
    [(4, "cancelled", []), (5, "queued", ["a job may have been submitted"])],
)
def test_a_job_whose_answer_was_lost_is_cancelled_or_told_of(
    client: Any, server: Fake, lost: int, state: str, notes: list[str]
) -> None:
    server.lost_answers = lost
    with pytest.raises(clients.Unreachable) as raised:
        client.submit_many(["good"])
    assert server.only.state == state
    assert getattr(raised.value, "__notes__", []) == notes


def test_what_cannot_be_cancelled_is_told_and_the_others_are(
    client: Any, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ITEMS", 1)

    def inputs() -> Iterator[str]:
        yield from ("one", "two", "three")
        server.refusals = 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as raised:
        client.submit_many(inputs())
    first, second = server.jobs.values()
    assert (first.state, second.state) == ("queued", "cancelled")
    assert raised.value.__notes__ == [f"not cancelled: {first.id}"]


def test_with_a_key_of_the_callers_what_ended_early_goes_on(
    client: Any, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ITEMS", 1)

    def inputs(*, ends_early: bool) -> Iterator[str]:
        yield from ("one", "two")
        if ends_early:
            raise KeyboardInterrupt
        yield "three"

    with pytest.raises(KeyboardInterrupt):
        client.submit_many(inputs(ends_early=True), idempotency_key="mine")
    jobs = client.submit_many(inputs(ends_early=False), idempotency_key="mine")

    assert labels(list(jobs.results())) == ["one", "two", "three"]
    assert len(server.jobs) == 3


def test_the_longest_key_is_no_longer_for_many_jobs(client: Any, server: Fake) -> None:
    first, again = (client.submit_many(["a", "b"], idempotency_key="k" * 255) for _ in range(2))
    assert [job.id for job in first.jobs] == [job.id for job in again.jobs]
    assert len(server.only.key) <= 255


@pytest.mark.parametrize("asking", ["awaiting"], indirect=True)
def test_inputs_may_come_asynchronously(client: Any) -> None:
    async def texts() -> AsyncIterator[str]:
        for text in ("good", "bad"):
            yield text

    assert labels(list(client.submit_many(texts()).results())) == ["good", "bad"]


def test_the_time_is_that_of_all_jobs_together(
    client: Any, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ITEMS", 1)
    server.pace, server.retry_after = 0, "1"
    results = client.submit_many(["a", "b"]).results(timeout_s=3)
    with pytest.raises(clients.DeadlineExceeded):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
