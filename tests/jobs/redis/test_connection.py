"""What happens when Redis is not there, does not answer, or says no."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from inferctl.errors import StartError
from inferctl.jobs.job import Submitted
from inferctl.jobs.redis import breaker, connection
from inferctl.jobs.redis.connection import Connection
from inferctl.jobs.redis.store import RedisStore
from inferctl.jobs.store import StoreUnavailable
from tests.jobs.made import OWNER, end, new, put
from tests.jobs.redis.stores import RedisStores
from tests.jobs.redis_server import RedisServer
from tests.waiting import wait_until


def refused(store: RedisStore) -> tuple[str, float]:
    """What a submission hears, and after how many seconds."""
    began_s = time.monotonic()
    with pytest.raises(StoreUnavailable) as heard:
        store.submit([new()])
    assert heard.value.retry_after_s >= 1
    return str(heard.value), time.monotonic() - began_s


@pytest.mark.row(149)
def test_a_redis_that_is_gone_is_told_at_once_and_used_when_it_is_back(
    tmp_path: Path, redis: RedisStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "OPEN_S", 0.5)
    with RedisServer(tmp_path) as own:
        store = redis.open(url=own.url)
        job = put(store)
        own.stop()
        for _ in range(5):
            why, took_s = refused(store)
            assert "Redis" in why
            assert took_s < 0.5
        own.start()
        assert wait_until(lambda: found(store, job.id))


def found(store: RedisStore, job_id: str) -> bool:
    try:
        return store.find(job_id, None).state == "queued"
    except StoreUnavailable:
        return False


@pytest.mark.row(150)
def test_who_waits_for_a_redis_that_does_not_answer_is_told_in_two_seconds(
    tmp_path: Path, redis: RedisStores
) -> None:
    with RedisServer(tmp_path) as own:
        store = redis.open(url=own.url)
        job = put(store)
        own.freeze()
        began_s = time.monotonic()
        for _ in range(5):
            refused(store)
        assert time.monotonic() - began_s < 2
        own.thaw()
        assert wait_until(lambda: found(store, job.id))


@pytest.mark.row(150)
def test_one_that_was_taken_in_unheard_is_told_and_counted_once(
    tmp_path: Path, redis: RedisStores
) -> None:
    with RedisServer(tmp_path) as own:
        store = redis.open(url=own.url)
        put(store)
        own.freeze()
        thaw = threading.Timer(connection.TIMEOUT_S + 0.1, own.thaw)
        thaw.start()
        (told,) = store.submit([new(idempotency_key="k")])
        thaw.join()
        assert isinstance(told, Submitted), told
        assert told.is_new
        assert store.sweep().by_state["queued"] == 2
        assert len(store.page(None, [], 9).jobs) == 2


@pytest.mark.row(149)
def test_after_three_failures_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "AFTER_ONE_S", 0)
    watched = breaker.Breaker()
    for _ in range(breaker.FAILURES):
        watched.check()
        watched.failed("why")
    with pytest.raises(StoreUnavailable, match="why"):
        watched.check()
    watched.succeeded()
    watched.failed("why")
    monkeypatch.setattr(breaker, "OPEN_S", 0)
    watched.failed("why")
    watched.failed("why")
    watched.check()


@pytest.mark.row(122, 152)
@pytest.mark.parametrize("append_only", [True, False])
def test_a_redis_that_loses_jobs_is_warned_of(
    tmp_path: Path, redis: RedisStores, append_only: bool
) -> None:
    with capture_logs() as said, RedisServer(tmp_path, append_only=append_only) as own:
        store = redis.open(url=own.url)
        put(store)
        put(store)
    assert ["append-only" in line["event"] for line in said] == [True] * (not append_only)


@pytest.mark.row(153)
def test_a_redis_that_drops_jobs_is_warned_of(tmp_path: Path, redis: RedisStores) -> None:
    with RedisServer(tmp_path) as own:
        own.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        with capture_logs() as said:
            put(redis.open(url=own.url))
    assert [line["policy"] for line in said] == ["allkeys-lru"]


@pytest.mark.row(152)
def test_what_was_taken_in_survives_the_death_of_redis(tmp_path: Path, redis: RedisStores) -> None:
    with RedisServer(tmp_path, appendfsync="always") as own:
        store = redis.open(url=own.url)
        job = put(store)
        (claim,) = store.claim(OWNER, 1)
        own.kill()
        refused(store)
        own.start()
        wait_until(lambda: keeps(store, claim.id))
        assert store.items(claim, 1, 100)
        assert end(store, claim, "done")
        assert store.find(job.id, None).state == "done"


def keeps(store: RedisStore, job_id: str) -> bool:
    try:
        return store.find(job_id, None).state == "running"
    except StoreUnavailable:
        return False


def test_a_password_is_in_no_word(tmp_path: Path, redis: RedisStores) -> None:
    with RedisServer(tmp_path) as own:
        own.ask("CONFIG", "SET", "requirepass", "trout")
        url = own.url.replace("//", "//:carp@")
        with capture_logs() as said:
            why, _ = refused(redis.open(url=url))
        assert "refuses the user" in why
        assert "carp" not in f"{why}{said}"


def test_what_is_no_address_is_no_start() -> None:
    with pytest.raises(StartError) as heard:
        Connection("http://:carp@127.0.0.1/0")
    assert "carp" not in str(heard.value)


def test_where_config_is_forbidden_jobs_are_taken_in(tmp_path: Path, redis: RedisStores) -> None:
    with RedisServer(tmp_path) as own, capture_logs() as said:
        own.ask("ACL", "SETUSER", "default", "-config")
        put(redis.open(url=own.url))
    assert said == []
