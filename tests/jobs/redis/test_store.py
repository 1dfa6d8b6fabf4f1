"""The store in Redis, beside what it promises as every store does."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest

from inferctl.jobs.job import Owner, Report, Result, Submitted
from inferctl.jobs.redis.names import PREFIX
from inferctl.jobs.redis.records import NewerVersion
from inferctl.jobs.redis.store import RedisStore
from inferctl.jobs.store import StoreUnavailable
from inferctl.refusals import Conflict, Gone, NotFound, RequestError
from tests.jobs.made import OWNER, RIGHT, WRONG, begun, end, new, put, record, release
from tests.jobs.redis.stores import RedisStores, Sent
from tests.jobs.redis_server import RedisServer
from tests.waiting import wait_until


def test_each_that_waits_is_sent_once(redis: RedisStores, sent: Sent) -> None:
    store = redis.open()
    first, second = put(store, new(idempotency_key="k")).id, begun(store)
    put(store, new(idempotency_key="k"))
    assert sent.ids == [first, second.id]
    release(store, second, charged=False)
    assert sent.ids[2:] == [second.id]
    (again,) = store.claim(OWNER, 1, second.id)
    release(store, again, 60, charged=False)
    store.cancel(first, None)
    assert sent.ids[3:] == []
    assert store.retry(first).state == "queued"
    assert sent.ids[3:] == [first]


def test_what_an_owner_had_who_is_dead_is_queued_at_once_and_sent_after_a_while(
    redis: RedisStores, sent: Sent
) -> None:
    store, owner = redis.open(), Owner("elsewhere", "boot", 1, 1)
    job = put(store)
    (claim,) = store.claim(owner, 1)
    assert store.sweep().redelivered == 0
    redis.dead.append(owner)
    swept = store.sweep()
    assert (swept.redelivered, sent.ids) == (1, [job.id])
    assert 0 < swept.due_s <= 1
    assert store.claim(owner, 1, job.id) == []
    assert not end(store, claim, "done")
    wait_until(lambda: store.sweep() and sent.ids[1:])
    assert sent.ids == [job.id, job.id]
    assert store.sweep().due_s == math.inf


def test_what_nobody_renewed_is_let_be_for_longer_and_longer_from_the_end_of_its_lease(
    redis: RedisStores, server: RedisServer
) -> None:
    store = redis.open(lease_s=0.5, max_attempts=9)
    job_id = put(store).id
    for attempt, pause_s in ((1, 1), (2, 4), (3, 16), (4, 60), (5, 60)):
        server.ask("ZADD", f"{PREFIX}delayed", "XX", 0, job_id)
        (claim,) = store.claim(OWNER, 1, job_id)
        assert claim.attempt == attempt
        server.ask("ZADD", f"{PREFIX}leases", time.time() - 0.1, job_id)
        swept = store.sweep()
        assert swept.redelivered == 1
        assert pause_s - 1 < swept.due_s <= pause_s - 0.1


@pytest.mark.row(151)
def test_who_could_not_renew_his_lease_since_redis_was_gone_has_time_to(
    redis: RedisStores, server: RedisServer
) -> None:
    """But not for ever, and the dead have none."""
    store, dead = redis.open(), Owner("elsewhere", "boot", 1, 1)
    kept, lost = begun(store), begun(store)
    now_s = time.time()
    server.ask("HSET", SWEPT, "at", now_s - 20, "well", 0)
    server.ask("ZADD", f"{PREFIX}leases", now_s - 5, kept.id, now_s - 5, lost.id)
    swept = store.sweep()
    assert (swept.redelivered, swept.due_s) == (0, 3.75), "sooner than usual"
    assert store.keep([kept]) == set()
    put(store)
    store.claim(dead, 1)
    redis.dead.append(dead)
    assert store.sweep().redelivered == 1
    server.ask("HSET", SWEPT, "well", now_s - 10)
    assert store.sweep().redelivered == 1
    assert store.keep([kept, lost]) == {lost.id}


SWEPT = f"{PREFIX}swept"


def test_inputs_of_what_ended_are_kept_for_a_retry_as_long_as_there_is_room(
    redis: RedisStores,
) -> None:
    store = redis.open(max_bytes=1024)
    kept, forgotten = (put(store, new(b"x" * 400)).id for _ in range(2))
    store.cancel(kept, None)
    store.cancel(put(store, new(b"x" * 400)).id, None)
    store.cancel(forgotten, None)
    with pytest.raises(Conflict):
        store.retry(forgotten)
    assert store.retry(kept).state == "queued"


def test_a_large_job_is_read_in_parts(store: RedisStore) -> None:
    claim = begun(store, new(*[b"x" * 10] * 1000, is_bulk=True))
    assert [one.number for one in store.items(claim, 100, 35)] == [0, 1, 2]
    assert [one.number for one in store.items(claim, 2, 5, beyond=997)] == [998]
    record(store, claim, [Result(number, 200, b"y") for number in range(0, 1000, 2)])
    assert [one.number for one in store.items(claim, 3, 1000, beyond=9)] == [11, 13, 15]
    assert [one.number for one in store.results(claim.id, None, 995, 10)] == [996, 998]


def test_purge_forgets_what_ended(store: RedisStore, server: RedisServer) -> None:
    claims = [begun(store, new(idempotency_key=name)) for name in ("a", "b")]
    end(store, claims[0], "done")
    end(store, claims[1], "failed")
    assert store.purge(["done"], 60) == 0
    assert store.purge(["done"], 0) == 1
    with pytest.raises(Gone):
        store.find(claims[0].id, None)
    assert store.purge(["done", "failed"], 0) == 1
    left = {name.decode().removeprefix(PREFIX) for name in server.ask("KEYS", "*")}
    assert {name.partition(":")[0] for name in left} == {
        "counts", "number", "ended", "gone",
    }  # fmt: skip


def test_what_no_sweep_saw_for_a_day_is_still_known_to_the_next(
    store: RedisStore, server: RedisServer
) -> None:
    claim = begun(store)
    store.report([Report(claim, [WRONG_ONE], "failed")])
    left_ms = {name: server.ask("PTTL", f"{PREFIX}{name}:{claim.id}") for name in KEPT}
    assert left_ms.pop("job") == -1
    assert all(left > 0 for left in left_ms.values())
    store.retry(claim.id)
    assert server.ask("PTTL", f"{PREFIX}inputs:{claim.id}") == -1


KEPT = ["job", "inputs", "results", "answered", "problems"]
WRONG_ONE = replace(WRONG, number=0)


def test_an_id_that_got_lost_is_sent_again(redis: RedisStores, sent: Sent) -> None:
    store = redis.open(lease_s=0.5)
    job = put(store)
    store.sweep()
    assert sent.ids == [job.id]
    wait_until(lambda: store.sweep() and sent.ids[1:])
    assert sent.ids == [job.id] * 2


@pytest.mark.row(157)
@pytest.mark.row(158)
def test_one_that_is_being_done_is_not_begun_again_whoever_brings_its_id(
    redis: RedisStores,
) -> None:
    store, other = redis.open(lease_s=0.5), redis.open(lease_s=0.5)
    claim = begun(store)
    for _ in range(3):
        redis.clock.advance(0.3)
        assert store.keep([claim]) == set()
        assert other.claim(OWNER, 1, claim.id) == []
        other.sweep()
    assert end(store, claim, "done", results=[RIGHT])
    assert other.claim(OWNER, 1, claim.id) == []


@pytest.mark.row(152)
def test_who_had_a_claim_that_redis_lost_has_not_the_one_after_it(
    store: RedisStore, server: RedisServer
) -> None:
    job = put(store)
    kept = {name: server.ask("DUMP", f"{PREFIX}{name}") for name in (f"job:{job.id}", "queue")}
    (lost,) = store.claim(OWNER, 1)
    server.ask("DEL", f"{PREFIX}leases")
    for name, value in kept.items():
        server.ask("RESTORE", f"{PREFIX}{name}", "0", value, "REPLACE")
    (claim,) = store.claim(OWNER, 1)
    assert not end(store, lost, "done")
    assert end(store, claim, "done")


def test_where_a_page_goes_on_tells_nothing_of_others(store: RedisStore) -> None:
    mine, theirs = [put(store).id for _ in range(3)], put(store, new(key="bob")).id
    assert store.page("alice", [], 2).next == mine[1]
    for unknown in (theirs, "0" * 32):
        with pytest.raises(RequestError):
            store.page("alice", [], 2, unknown)
    assert [job.id for job in store.page(None, [], 9, theirs).jobs] == mine[::-1]


def test_a_page_goes_on_behind_a_job_that_was_forgotten_meanwhile(store: RedisStore) -> None:
    first, second = put(store).id, begun(store)
    page = store.page("alice", [], 1)
    end(store, second, "done")
    assert store.purge(["done"], 0) == 1
    assert [job.id for job in store.page("alice", [], 1, page.next).jobs] == [first]


def test_who_asks_for_a_rare_state_gets_a_short_page_and_goes_on(store: RedisStore) -> None:
    rare = put(store).id
    store.cancel(rare, None)
    newer = [new() for _ in range(600)]
    store.submit(newer)
    page = store.page("alice", ["cancelled", "cancelled"], 9)
    assert (page.jobs, page.next) == ([], newer[100].id)
    page = store.page("alice", ["cancelled"], 9, page.next)
    assert ([job.id for job in page.jobs], page.next) == ([rare], "")


@pytest.mark.row(163)
def test_what_a_newer_version_took_in_is_left_as_it_is(
    store: RedisStore, server: RedisServer
) -> None:
    newer, known = put(store), put(store)
    server.ask("HSET", f"{PREFIX}job:{newer.id}", "payload", 2)
    assert [claim.id for claim in store.claim(OWNER, 10)] == [known.id]
    assert store.claim(OWNER, 10, only=newer.id) == []
    assert store.sweep().by_state["queued"] == 1
    with pytest.raises(NewerVersion, match="newer version"):
        store.find(newer.id, None)


@pytest.mark.row(153)
def test_what_is_gone_from_redis_is_not_there(store: RedisStore, server: RedisServer) -> None:
    running, queued = begun(store), put(store)
    server.ask("DEL", f"{PREFIX}job:{running.id}", f"{PREFIX}job:{queued.id}", f"{PREFIX}counts")
    assert store.claim(OWNER, 10) == []
    assert not end(store, running, "done")
    assert store.sweep().redelivered == 0
    assert set(store.sweep().by_state.values()) == {0}
    server.ask("FLUSHALL")
    assert store.claim(OWNER, 10) == []
    with pytest.raises(NotFound):
        store.find(queued.id, None)
    put(store)


@pytest.mark.row(153)
@pytest.mark.parametrize("lost", ["job:{id}", "counts"])
def test_what_was_evicted_takes_no_room(lost: str, redis: RedisStores, server: RedisServer) -> None:
    store = redis.open(max_bytes=1024, max_jobs=2)
    waiting, small = put(store, new(b"x" * 800)), put(store, new(b"x" * 100))
    server.ask("DEL", f"{PREFIX}{lost.format(id=waiting.id)}")
    claims = store.claim(OWNER, 1)
    counts = store.sweep().by_state
    assert (counts["queued"], counts["running"]) == (2 - len(claims) - ("job" in lost), 1)
    assert [claim.id for claim in claims] == [small.id if "job" in lost else waiting.id]
    (outcome,) = store.submit([new(b"x" * 800)])
    assert isinstance(outcome, Submitted) == ("job" in lost)


@pytest.mark.row(159)
def test_a_full_redis_takes_nothing_in_and_lets_what_is_there_end(
    store: RedisStore, server: RedisServer
) -> None:
    claim = begun(store)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(StoreUnavailable, match="no memory"):
            store.submit([new()])
        assert store.find(claim.id, None).state == "running"
        assert record(store, claim, [RIGHT])
        assert end(store, claim, "done")
        assert store.results(claim.id, None, 0, 1) == [RIGHT]
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")
    put(store)
