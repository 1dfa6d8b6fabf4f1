"""What every kind of store promises to those who do jobs, and of those who should have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferctl.jobs.job import Claim, Report, Result
from inferctl.jobs.store import Store
from tests.jobs.backend import Advancing
from tests.jobs.made import (
    OWNER,
    RIGHT,
    WRONG,
    OpenStore,
    begun,
    bulk,
    done,
    end,
    new,
    put,
    record,
    release,
)

# After it what was queued again by a sweep may be begun.
LET_BE_S = 1.2
PROBLEM = {"status": 500, "code": "internal_error", "detail": "…"}


def ids(claims: list[Claim]) -> list[str]:
    return [claim.id for claim in claims]


def test_the_oldest_are_begun_first_and_none_twice(open_store: OpenStore) -> None:
    store, other = open_store(), open_store()
    asked = [put(store).id for _ in range(5)]
    assert ids(store.claim(OWNER, 2)) == asked[:2]
    assert ids(other.claim(OWNER, 2)) == asked[2:4]
    assert ids(store.claim(OWNER, 9)) == asked[4:]
    assert other.claim(OWNER, 9) == []


def test_one_is_begun_by_its_id_if_it_waits(store: Store) -> None:
    first, second = put(store), put(store)
    assert ids(store.claim(OWNER, 1, only=second.id)) == [second.id]
    assert store.claim(OWNER, 1, only=second.id) == []
    assert store.claim(OWNER, 1, only="no id") == []
    assert ids(store.claim(OWNER, 9)) == [first.id]


def test_a_claim_says_what_is_to_be_done(store: Store) -> None:
    asked = new(b"a", b"b", is_bulk=True, version="2", query="top_k=1", content_type="text/plain")
    job = put(store, asked)
    (claim,) = store.claim(OWNER, 1)
    assert (claim.id, claim.model, claim.version, claim.query) == (asked.id, "m", "2", "top_k=1")
    assert (claim.content_type, claim.is_bulk, claim.items) == ("text/plain", True, 2)
    assert (claim.done_items, claim.attempt, claim.is_last) == (0, 1, False)
    running = store.find(asked.id, "alice")
    assert (running.state, running.attempts) == ("running", 1)
    assert running.started_s is not None
    assert running.revision > job.revision


def test_items_come_in_order_and_in_parts(store: Store) -> None:
    claim = begun(store, bulk(5))
    assert [item.body for item in store.items(claim, 9, 99)] == [b"0", b"1", b"2", b"3", b"4"]
    assert [item.number for item in store.items(claim, 2, 99)] == [0, 1]
    assert [item.number for item in store.items(claim, 9, 3)] == [0, 1, 2]
    assert [item.number for item in store.items(claim, 9, 0)] == [0], "there is always one"
    assert [item.number for item in store.items(claim, 2, 99, beyond=2)] == [3, 4]
    record(store, claim, [Result(1, 200, b""), Result(3, 422, b"")])
    assert [item.number for item in store.items(claim, 9, 99)] == [0, 2, 4]
    assert store.items(claim, 9, 99, beyond=4) == []


def test_progress_is_seen(store: Store) -> None:
    claim = begun(store, bulk(3))
    before = store.find(claim.id, "alice")
    assert record(store, claim, [RIGHT, WRONG])
    job = store.find(claim.id, "alice")
    assert (job.done_items, job.failed_items) == (2, 1)
    assert job.revision > before.revision


def test_of_two_results_of_an_item_the_first_counts(store: Store) -> None:
    claim = begun(store, bulk(2))
    record(store, claim, [RIGHT])
    assert record(store, claim, [replace(RIGHT, status=500, body=b"late"), WRONG])
    assert store.results(claim.id, "alice", 0, 9) == [RIGHT, WRONG]
    job = store.find(claim.id, "alice")
    assert (job.done_items, job.failed_items) == (2, 1)


@pytest.mark.parametrize(("state", "problem"), [("done", None), ("failed", PROBLEM)])
def test_a_job_ends_once(state: str, problem: dict[str, object] | None, store: Store) -> None:
    claim = begun(store)
    assert store.report([Report(claim, [RIGHT], state, problem)]) == set()  # type: ignore[arg-type]
    job = store.find(claim.id, "alice")
    assert (job.state, job.problem, job.done_items) == (state, problem, 1)
    assert job.ended_s is not None
    assert_is_lost(store, claim)


def assert_is_lost(store: Store, claim: Claim) -> None:
    """Nothing that comes with it changes anything."""
    before = store.find(claim.id, None), store.results(claim.id, None, 0, 9)
    assert store.keep([claim]) == {claim.id}
    assert store.items(claim, 9, 99) == []
    assert not record(store, claim, [replace(RIGHT, body=b"late")])
    assert not end(store, claim, "failed", PROBLEM)
    assert not release(store, claim, charged=True)
    assert store.report([Report(claim, [WRONG], "done")]) == {claim.id}
    assert (store.find(claim.id, None), store.results(claim.id, None, 0, 9)) == before


def test_many_claims_are_told_of_at_once_and_the_lost_ones_named(store: Store) -> None:
    first, cancelled, paused, going = (begun(store, bulk(2)) for _ in range(4))
    store.cancel(cancelled.id, "alice")
    lost = store.report(
        [
            Report(first, [RIGHT, WRONG], "done"),
            Report(cancelled, [RIGHT], "done"),
            Report(paused, [WRONG], "queued", after_s=1, charged=True),
            Report(going, [RIGHT]),
        ]
    )
    assert lost == {cancelled.id}
    states = [store.find(one.id, None).state for one in (first, cancelled, paused, going)]
    assert states == ["done", "cancelled", "queued", "running"]
    assert store.results(paused.id, None, 0, 9) == [WRONG]


def test_what_is_handed_back_is_begun_by_whoever_comes(store: Store) -> None:
    claim = begun(store)
    assert release(store, claim, charged=False)
    assert store.find(claim.id, "alice").state == "queued"
    (again,) = store.claim(OWNER, 1)
    assert (again.id, again.attempt) == (claim.id, 1), "the attempt was not charged"
    assert again.fence > claim.fence
    assert_is_lost(store, claim)


def test_a_pause_is_kept_and_holds_nobody_else_up(store: Store, clock: Advancing) -> None:
    paused = begun(store)
    other = put(store)
    release(store, paused, 1, charged=True)
    assert ids(store.claim(OWNER, 9)) == [other.id]
    assert store.claim(OWNER, 9, only=paused.id) == []
    later = put(store)
    clock.advance(1.2)
    (first, second) = store.claim(OWNER, 9)
    assert (first.id, first.attempt, second.id) == (paused.id, 2, later.id)


def test_the_last_attempt_is_told_and_after_it_the_job_failed(open_store: OpenStore) -> None:
    store = open_store(max_attempts=2)
    claim = begun(store)
    release(store, claim, charged=True)
    (last,) = store.claim(OWNER, 1)
    assert (last.attempt, last.is_last) == (2, True)
    assert release(store, last, charged=True)
    job = store.find(claim.id, "alice")
    assert job.state == "failed"
    assert job.problem is not None
    assert job.problem["code"] == "attempts_exhausted"


@pytest.mark.row(134)
def test_who_does_not_renew_his_lease_loses_his_job_to_another(
    open_store: OpenStore, clock: Advancing
) -> None:
    store, other = open_store(lease_s=0.5), open_store(lease_s=0.5)
    claim = begun(store, bulk(2))
    record(store, claim, [RIGHT])
    clock.advance(0.8)
    assert other.sweep().redelivered == 1
    clock.advance(LET_BE_S)
    (theirs,) = other.claim(OWNER, 9)
    assert (theirs.attempt, theirs.done_items) == (2, 1), "it goes on where it was"
    assert [item.number for item in other.items(theirs, 9, 99)] == [1]
    assert_is_lost(store, claim)
    other.report([Report(theirs, [WRONG], "done")])
    assert_is_lost(store, claim)


def test_a_lease_is_a_jobs_own_and_renewed(open_store: OpenStore, clock: Advancing) -> None:
    store = open_store(lease_s=1)
    kept, forgotten = begun(store), begun(store)
    clock.advance(0.6)
    assert store.keep([kept]) == set()
    clock.advance(0.6)
    assert store.sweep().redelivered == 1
    assert store.keep([kept, forgotten]) == {forgotten.id}
    assert store.sweep().redelivered == 0


def test_what_ends_everybody_who_does_it_fails_and_the_others_go_on(
    open_store: OpenStore, clock: Advancing
) -> None:
    store = open_store(lease_s=0.5, max_attempts=2)
    poison, other = put(store), put(store)
    for found in ((1, 0), (0, 1)):
        assert store.claim(OWNER, 1)[0].id == poison.id
        clock.advance(0.8)
        swept = store.sweep()
        assert (swept.redelivered, swept.exhausted) == found
        clock.advance(LET_BE_S)
    job = store.find(poison.id, "alice")
    assert (job.state, job.attempts) == ("failed", 2)
    assert job.problem is not None
    assert job.problem["code"] == "attempts_exhausted"
    assert ids(store.claim(OWNER, 9)) == [other.id]


def test_a_sweep_says_what_is_there(store: Store) -> None:
    done(store)
    begun(store)
    put(store)
    put(store)
    by_state = store.sweep().by_state
    assert (by_state["queued"], by_state["running"], by_state["done"]) == (2, 1, 1)
