"""Handing in, asking after, cancelling and listing jobs."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from inferctl import client as clients
from tests.client.jobs.fake import Fake


def test_a_text_is_handed_in_with_what_is_chosen(client: Any, server: Fake) -> None:
    job = client.submit("good", model="mood", version=3, top_k=2)

    (request,) = server.received
    assert request.path == "/jobs"
    assert json.loads(request.body) == {
        "model": "mood", "version": 3, "item": {"text": "good", "top_k": 2},
    }  # fmt: skip
    assert job.id == server.only.id


def test_an_image_is_handed_in_as_it_is(client: Any, server: Fake) -> None:
    client.submit(b"\xff\xd8", model="shapes", confidence_threshold=0.2)

    (request,) = server.received
    assert request.path == "/jobs?confidence_threshold=0.2&model=shapes"
    assert (request.headers["content-type"], request.body) == ("image/jpeg", b"\xff\xd8")


@pytest.mark.parametrize("how", ["lost_answers", "broken_answers"])
@pytest.mark.parametrize("lost", [1, 3])
def test_a_connection_that_breaks_makes_one_job(
    client: Any, server: Fake, lost: int, how: str
) -> None:
    setattr(server, how, lost)

    job = client.submit("good")

    assert server.only.id == job.id
    keys = {request.headers["idempotency-key"] for request in server.received}
    assert len(server.received) == lost + 1
    assert len(keys) == 1
    assert UUID(keys.pop())


def test_each_submission_is_a_job_of_its_own_but_for_a_key_of_the_callers(client: Any) -> None:
    ids = [client.submit("good").id for _ in range(2)]
    same = [client.submit("good", idempotency_key="mine").id for _ in range(2)]

    assert len({*ids, *same}) == 3
    assert same[0] == same[1]


def test_a_key_that_was_used_for_something_else_is_an_error(client: Any) -> None:
    client.submit("good", idempotency_key="mine")
    with pytest.raises(clients.BadRequest):
        client.submit("bad", idempotency_key="mine")


@pytest.mark.parametrize("key", ["", "a b", "ключ", "k" * 256])
def test_a_key_that_no_header_can_hold_is_refused_before_it_is_sent(
    client: Any, server: Fake, key: str
) -> None:
    with pytest.raises(clients.InvalidInput, match="visible ASCII"):
        client.submit("good", idempotency_key=key)
    assert server.received == []


def test_the_status_is_typed(client: Any, server: Fake) -> None:
    server.pace = 0
    status = client.submit("good").status()

    assert (status.state, status.items, status.done_items, status.progress) == ("queued", 1, 0, 0)
    assert status.created_at.isoformat() == "2026-11-27T04:00:00+00:00"
    assert status.started_at is None
    assert not status.is_over


def test_a_job_is_found_again_by_its_id(client: Any) -> None:
    job = client.submit("good")
    assert client.job(job.id).result().label == "good"


@pytest.mark.parametrize("job_id", ["", "../models", "a/b", "a?b", "a" * 65])
def test_what_is_no_id_is_refused_before_it_is_sent(client: Any, job_id: str) -> None:
    with pytest.raises(clients.InvalidInput, match="is not the id of a job"):
        client.job(job_id)


def test_a_job_that_is_not_there_is_not_found(client: Any) -> None:
    with pytest.raises(clients.NotFound):
        client.job("f" * 32).status()


def test_cancelling_twice_says_the_same_and_what_is_over_stays(client: Any, server: Fake) -> None:
    job = client.submit("good")
    assert [job.cancel().state for _ in range(2)] == ["cancelled", "cancelled"]

    finished = client.submit("good")
    finished.result()
    with pytest.raises(clients.Conflict):
        finished.cancel()


def test_the_list_is_read_page_after_page(client: Any, server: Fake) -> None:
    ids = [client.submit("good").id for _ in range(5)]
    client.job(ids[3]).cancel()

    assert [status.id for status in client.jobs()] == ids[::-1]
    assert [status.id for status in client.jobs(state="cancelled")] == [ids[3]]
    assert len(list(client.jobs(state=("queued", "cancelled")))) == 5
