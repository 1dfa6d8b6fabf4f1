"""What every kind of store promises of jobs that come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferctl.jobs.job import NewJob, Report, Submitted
from inferctl.jobs.store import Store
from inferctl.refusals import Overloaded, TooLarge, Unprocessable
from tests.jobs.backend import Advancing
from tests.jobs.made import RIGHT, OpenStore, begun, bulk, done, new, put


def test_one_that_was_taken_in_waits_and_every_process_finds_it(open_store: OpenStore) -> None:
    asked = new(b"a", b"b", version="3", is_bulk=True)
    (taken,) = open_store().submit([asked])
    assert isinstance(taken, Submitted)
    assert taken.is_new
    job = open_store().find(asked.id, "alice")
    assert job == taken.job
    assert (job.id, job.model, job.version, job.key) == (asked.id, "m", "3", "alice")
    assert (job.state, job.is_bulk, job.items, job.done_items) == ("queued", True, 2, 0)
    assert (job.attempts, job.started_s, job.ended_s, job.expires_s) == (0, None, None, None)
    assert not job.is_over


def test_the_same_request_with_the_same_idempotency_key_is_the_same_job(store: Store) -> None:
    once = put(store, new(idempotency_key="k", fingerprint=b"f"))
    (again,) = store.submit([new(idempotency_key="k", fingerprint=b"f")])
    assert again == Submitted(once, is_new=False)
    assert put(store, new(idempotency_key="l", fingerprint=b"f")).id != once.id
    assert put(store, new(fingerprint=b"f")).id != once.id


def test_an_idempotency_key_that_comes_twice_at_once_is_one_job(store: Store) -> None:
    twice = [new(idempotency_key="k", fingerprint=b"f") for _ in range(2)]
    first, second = store.submit(twice)
    assert isinstance(first, Submitted)
    assert isinstance(second, Submitted)
    assert (first.is_new, second.is_new) == (True, False)
    assert first.job.id == second.job.id


def test_another_request_with_an_idempotency_key_that_was_used_is_refused(store: Store) -> None:
    put(store, new(idempotency_key="k", fingerprint=b"f"))
    (other,) = store.submit([new(idempotency_key="k", fingerprint=b"g")])
    assert isinstance(other, Unprocessable)


def test_idempotency_keys_are_an_api_keys_own(store: Store) -> None:
    alices = put(store, new(idempotency_key="k", fingerprint=b"f"))
    bobs = put(store, new(idempotency_key="k", fingerprint=b"g", key="bob"))
    assert alices.id != bobs.id


def test_an_idempotency_key_is_kept_as_long_as_its_job(
    open_store: OpenStore, clock: Advancing
) -> None:
    store = open_store(keep_h=1 / 3600)
    asked = new(idempotency_key="k", fingerprint=b"f")
    first = done(store, asked)
    (again,) = store.submit([replace(asked, id=new().id)])
    assert isinstance(again, Submitted)
    assert (again.job.id, again.job.state) == (first, "done")
    clock.advance(1.5)
    assert put(store, replace(asked, id=new().id, fingerprint=b"g")).id != first


def test_one_that_is_refused_leaves_the_others_of_its_group_alone(open_store: OpenStore) -> None:
    store = open_store(max_items=2)
    group = [new(), bulk(3), bulk(2)]
    first, refused, last = store.submit(group)
    assert isinstance(refused, TooLarge)
    assert isinstance(first, Submitted)
    assert isinstance(last, Submitted)
    assert [job.id for job in store.page("alice", [], 9).jobs] == [group[2].id, group[0].id]


@pytest.mark.row(141)
def test_a_full_queue_refuses_until_one_ended(open_store: OpenStore) -> None:
    store = open_store(max_jobs=2)
    claim = begun(store)
    put(store)
    (refused,) = store.submit([new()])
    assert isinstance(refused, Overloaded)
    assert (refused.reason, refused.retry_after_s) == ("jobs", 60)

    store.report([Report(claim, [RIGHT], "done")])
    put(store)
    (refused,) = store.submit([new()])
    assert isinstance(refused, Overloaded), "what is being done, and what waits, counts"


@pytest.mark.row(141)
def test_who_is_refused_is_told_when_there_will_be_room(open_store: OpenStore) -> None:
    store = open_store(max_jobs=1)
    for _ in range(12):
        done(store)
    put(store)
    refused = store.submit([new(), new(), new()])
    waits_s = [one.retry_after_s for one in refused if isinstance(one, Overloaded)]
    assert waits_s == [5, 10, 15], "12 a minute"


@pytest.mark.row(141)
def test_a_queue_that_is_full_of_bytes_refuses_what_is_large(open_store: OpenStore) -> None:
    store = open_store(max_bytes=1024)
    claim = begun(store, sized(700))
    (refused,) = store.submit([sized(325)])
    assert isinstance(refused, Overloaded)
    put(store, sized(324))
    store.report([Report(claim, [RIGHT], "done")])
    put(store, sized(700))


def test_what_would_never_fit_is_not_told_to_come_back(open_store: OpenStore) -> None:
    (refused,) = open_store(max_bytes=1024).submit([sized(1025)])
    assert isinstance(refused, TooLarge)


def test_a_job_that_is_there_is_found_again_when_there_is_no_room(open_store: OpenStore) -> None:
    store = open_store(max_jobs=1)
    asked = new(idempotency_key="k", fingerprint=b"f")
    job = put(store, asked)
    (again,) = store.submit([replace(asked, id=new().id)])
    assert again == Submitted(job, is_new=False)


def sized(size_bytes: int) -> NewJob:
    return new(b"x" * size_bytes)
