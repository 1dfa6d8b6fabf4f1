"""What every kind of store promises to those who ask what became of their jobs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferctl.jobs.job import Job, Report, Result, State
from inferctl.jobs.store import Store
from inferctl.refusals import Conflict, Gone, NotFound, RequestError
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
    swept,
)

PROBLEM = {"status": 500, "code": "internal_error", "detail": "…"}


@pytest.mark.row(142)
@pytest.mark.parametrize("job_id", ["", "x", "0" * 32, "F" * 32, "0" * 31, "é" * 32, "0" * 10_000])
def test_no_id_and_an_id_of_nothing_are_the_same_to_whoever_asks(job_id: str, store: Store) -> None:
    theirs = put(store, new(key="bob")).id
    assert str(refused(store, job_id)) == str(refused(store, theirs))


def refused(store: Store, job_id: str) -> NotFound:
    with pytest.raises(NotFound) as found:
        store.find(job_id, "alice")
    with pytest.raises(NotFound):
        store.results(job_id, "alice", 0, 1)
    with pytest.raises(NotFound):
        store.cancel(job_id, "alice")
    return found.value


def test_an_operator_sees_everybodys(store: Store) -> None:
    theirs = put(store, new(key="bob"))
    assert store.find(theirs.id, None) == theirs
    assert [job.key for job in store.page(None, [], 9).jobs] == ["bob"]


@pytest.mark.row(142)
def test_a_result_is_kept_for_its_time_and_then_it_is_known_to_be_gone(
    open_store: OpenStore, clock: Advancing
) -> None:
    store = open_store(keep_h=1 / 3600)
    job = store.find(done(store), "alice")
    assert job.ended_s is not None
    assert job.expires_s == pytest.approx(job.ended_s + 1)
    assert store.results(job.id, "alice", 0, 9) == [RIGHT]
    clock.advance(1.5)
    assert_gone(store, job)
    assert store.page("alice", [], 9).jobs == []
    swept(store)
    assert_gone(store, job)


def assert_gone(store: Store, job: Job) -> None:
    for ask in (store.find, store.cancel):
        with pytest.raises(Gone):
            ask(job.id, "alice")
        with pytest.raises(NotFound):
            ask(job.id, "bob")
    with pytest.raises(Gone):
        store.results(job.id, "alice", 0, 1)
    with pytest.raises(Gone):
        store.retry(job.id)


def test_an_open_job_does_not_expire(open_store: OpenStore, clock: Advancing) -> None:
    store = open_store(keep_h=1 / 3600)
    job = put(store)
    clock.advance(1.5)
    swept(store)
    assert store.find(job.id, "alice").state == "queued"


def test_results_are_read_by_number_while_the_job_is_open(store: Store) -> None:
    claim = begun(store, bulk(5))
    record(store, claim, [Result(number, 200, b"%d" % number) for number in (3, 0, 1)])
    assert [one.number for one in store.results(claim.id, "alice", 0, 9)] == [0, 1, 3]
    assert [one.number for one in store.results(claim.id, "alice", 1, 1)] == [1]
    assert store.results(claim.id, None, 3, 9) == [Result(3, 200, b"3")]
    assert store.results(claim.id, "alice", 4, 9) == []


@pytest.mark.parametrize("first", [-1, -(10**30), 1 << 24, 10**30])
def test_no_number_of_an_item_leads_to_another_jobs_results(first: int, store: Store) -> None:
    done(store, new(key="bob"))
    mine = done(store)
    done(store, new(key="bob"))
    assert store.results(mine, "alice", first, 9) == ([RIGHT] if first < 0 else [])


def test_the_list_is_the_newest_first_and_goes_on_where_a_page_ended(store: Store) -> None:
    ids = [put(store).id for _ in range(5)]
    found, after = [], ""
    for _ in range(3):
        page = store.page("alice", [], 2, after)
        found += [job.id for job in page.jobs]
        after = page.next
    assert found == ids[::-1]
    assert after == ""


def test_a_job_that_comes_does_not_shift_the_pages(store: Store) -> None:
    ids = [put(store).id for _ in range(3)]
    page = store.page("alice", [], 2)
    put(store)
    assert [job.id for job in store.page("alice", [], 2, page.next).jobs] == [ids[0]]


def test_a_list_has_ones_own_jobs_in_the_states_one_asks_for(store: Store) -> None:
    ended = done(store)
    running = begun(store).id
    put(store, new(key="bob"))
    waiting = put(store).id
    states: list[tuple[list[State], list[str]]] = [
        (["queued"], [waiting]),
        (["running", "done"], [running, ended]),
        (["failed"], []),
        ([], [waiting, running, ended]),
    ]
    for wanted, found in states:
        assert [job.id for job in store.page("alice", wanted, 9).jobs] == found
    assert len(store.page(None, [], 9).jobs) == 4


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "٣", "9" * 40, "' OR 1=1 --"])
def test_a_page_that_never_was_is_refused(after: str, store: Store) -> None:
    with pytest.raises(RequestError):
        store.page("alice", [], 2, after)


@pytest.mark.row(143)
def test_one_that_waits_is_cancelled_at_once_and_never_begun(store: Store) -> None:
    job = put(store)
    cancelled = store.cancel(job.id, "alice")
    assert cancelled.state == "cancelled"
    assert cancelled.ended_s is not None
    assert cancelled.revision > job.revision
    assert store.claim(OWNER, 9) == []
    assert store.cancel(job.id, "alice") == cancelled, "twice is once"


@pytest.mark.row(143)
def test_one_that_is_being_done_is_cancelled_with_the_results_that_it_has(store: Store) -> None:
    claim = begun(store, bulk(3))
    record(store, claim, [RIGHT])
    job = store.cancel(claim.id, "alice")
    assert (job.state, job.done_items) == ("cancelled", 1)
    assert store.items(claim, 9, 99) == []
    assert store.keep([claim]) == {claim.id}
    assert store.report([Report(claim, [WRONG], "done")]) == {claim.id}
    assert store.results(claim.id, "alice", 0, 9) == [RIGHT]
    assert store.find(claim.id, "alice") == job


@pytest.mark.row(143)
def test_one_that_is_done_or_failed_is_not_cancelled(store: Store) -> None:
    claim = begun(store)
    end(store, claim, "failed", PROBLEM)
    for ended in (done(store), claim.id):
        before = store.find(ended, "alice")
        with pytest.raises(Conflict):
            store.cancel(ended, "alice")
        assert store.find(ended, "alice") == before


def test_one_that_failed_is_begun_anew_where_it_failed(store: Store) -> None:
    claim = begun(store, bulk(3))
    store.report([Report(claim, [RIGHT, WRONG], "failed", PROBLEM)])
    job = store.retry(claim.id)
    assert (job.state, job.attempts, job.done_items, job.failed_items) == ("queued", 0, 1, 0)
    assert (job.started_s, job.ended_s, job.expires_s, job.problem) == (None, None, None, None)
    assert store.results(claim.id, "alice", 0, 9) == [RIGHT]
    (again,) = store.claim(OWNER, 9)
    assert (again.attempt, again.done_items) == (1, 1)
    assert [item.number for item in store.items(again, 9, 99)] == [1, 2]
    assert not record(store, claim, [WRONG]), "the old claim is none"


def test_of_many_items_those_that_failed_are_done_anew(store: Store) -> None:
    claim = begun(store, bulk(20))
    failed = {0, 1, 7, 8, 15, 19}
    for _ in range(2):
        results = [replace(WRONG if at in failed else RIGHT, number=at) for at in range(20)]
        store.report([Report(claim, results, "failed", PROBLEM)])
        assert store.retry(claim.id).done_items == 14
        (claim,) = store.claim(OWNER, 1)
        assert {item.number for item in store.items(claim, 20, 999)} == failed


def test_one_that_was_cancelled_is_begun_anew(store: Store) -> None:
    job = put(store)
    store.cancel(job.id, "alice")
    assert store.retry(job.id).state == "queued"
    (claim,) = store.claim(OWNER, 9)
    assert [item.body for item in store.items(claim, 9, 99)] == [b"{}"]


def test_what_is_open_or_done_is_not_begun_anew(store: Store) -> None:
    for job_id in (put(store).id, done(store)):
        with pytest.raises(Conflict):
            store.retry(job_id)
    with pytest.raises(NotFound):
        store.retry("0" * 32)


def test_purge_forgets_what_ended_long_enough_ago(store: Store, clock: Advancing) -> None:
    old, waiting = done(store), put(store).id
    clock.advance(1.5)
    recent = done(store)
    cancelled = store.cancel(put(store).id, "alice").id
    assert store.purge(["done"], 1) == 1
    with pytest.raises(Gone):
        store.find(old, "alice")
    assert store.purge(["done", "queued"], 0) == 1
    with pytest.raises(Gone):
        store.find(recent, "alice")
    assert {job.id for job in store.page(None, [], 9).jobs} == {waiting, cancelled}
