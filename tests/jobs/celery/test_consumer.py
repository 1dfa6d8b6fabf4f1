"""Celery brings ids of jobs, whatever else is in its queue, and whatever becomes of Redis."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from kombu.utils.encoding import bytes_to_str
from structlog.testing import capture_logs

from inferctl.jobs.celery import consumer
from inferctl.jobs.celery.app import TASK, App
from inferctl.jobs.celery.carrier import CeleryCarrier
from inferctl.jobs.celery.consumer import Consumer
from inferctl.jobs.job import new_job_id
from inferctl.jobs.redis.names import CARRIED, CARRIER_PREFIX, QUEUE
from tests.jobs.redis_server import RedisServer
from tests.waiting import wait_until

UNACKED = f"{CARRIER_PREFIX}unacked"


class Pump:
    """Takes ids; they are done at once, or when the test says so."""

    def __init__(self, *, at_once: bool = True) -> None:
        self.ids: list[str] = []
        self.futures: dict[str, Future[bool]] = {}
        self.refused = 0
        self.fault: Exception | None = None
        self.at_once = at_once

    def offer(self, job_id: str) -> Future[bool]:
        future: Future[bool] = Future()
        if self.at_once:
            future.set_result(True)
        self.futures[job_id] = future
        self.ids.append(job_id)
        return future

    def refuse(self) -> None:
        self.refused += 1
        if fault := self.fault:
            self.fault = None
            raise fault


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    redis_server.ask("FLUSHALL")
    return redis_server


@pytest.fixture
def consume() -> Iterator[Callable[..., Consumer]]:
    """Begin to take ids; at the end no more."""
    begun: list[Consumer] = []

    def begin(server: RedisServer, pump: Pump, slots: int = 2) -> Consumer:
        begun.append(Consumer(server.url, pump.offer, slots, pump.refuse))
        begun[-1].start()
        return begun[-1]

    yield begin
    for one in begun:
        one.stop()
        assert one.join(10)


Consume = Callable[..., Consumer]


def send(server: RedisServer, *ids: str) -> None:
    carrier = CeleryCarrier(server.url)
    carrier.send(ids)
    carrier.close()


@pytest.mark.row(158)
def test_each_id_that_is_sent_comes_and_twice_if_it_was_sent_twice(
    server: RedisServer, consume: Consume
) -> None:
    pump = Pump()
    consume(server, pump)
    first, second = new_job_id(), new_job_id()
    send(server, first, second, first)
    wait_until(lambda: len(pump.ids) == 3)
    assert Counter(pump.ids) == {first: 2, second: 1}
    wait_until(lambda: not server.ask("HLEN", UNACKED))


def test_no_more_are_taken_than_can_be_done(server: RedisServer, consume: Consume) -> None:
    pump = Pump(at_once=False)
    consume(server, pump, slots=2)
    send(server, *(new_job_id() for _ in range(4)))
    wait_until(lambda: len(pump.ids) == 2)
    assert server.ask("LLEN", CARRIED) == 2, "the others are for whoever has room"
    pump.futures[pump.ids[0]].set_result(True)
    wait_until(lambda: len(pump.ids) == 3)
    for future in [*pump.futures.values()]:
        future.done() or future.set_result(False)
    wait_until(lambda: len(pump.ids) == 4)
    pump.futures[pump.ids[3]].set_result(True)


def pushed(**more: Any) -> dict[str, Any]:
    """What Celery puts into its queue for an id, but for what differs."""
    job_id = new_job_id()
    with App("memory://").producer_or_acquire() as producer:
        channel = producer.channel
        body = json.dumps([[job_id], {}, {"callbacks": None, "errbacks": None, "chain": None}])
        headers = {"lang": "py", "task": TASK, "id": job_id, "root_id": job_id, "retries": 0}
        changed = {key: more.pop(key) for key in ("body", "content_type") if key in more}
        message = channel.prepare_message(
            changed.get("body", body), 0, changed.get("content_type", "application/json"), "utf-8",
            headers | more, {"correlation_id": job_id},
        )  # fmt: skip
        message["properties"] |= {
            "delivery_tag": job_id, "delivery_info": {"exchange": QUEUE, "routing_key": QUEUE},
        }  # fmt: skip
        return dict(message)


ID = "0" * 32
REFUSED: dict[str, Callable[[], bytes]] = {
    "no JSON": lambda: b"\x80\x04N.",
    "a list": lambda: b"[1]",
    "a deep list": lambda: b"[" * 200_000,
    "no properties": lambda: b"{}",
    "a pickle": lambda: written(pushed(body=b"\x80\x04N.", content_type="application/x-pickle")),
    "yaml": lambda: written(pushed(body="[]", content_type="application/x-yaml")),
    "another task": lambda: written(pushed(task="os.system")),
    "a task of Celery's own": lambda: written(pushed(task="celery.map")),
    "no task": lambda: written(pushed(task=None)),
    "a huge body": lambda: written(pushed(body=json.dumps([["x" * 9_000_000], {}, {}]))),
    "deep": lambda: written(pushed(body="[" * 1000)),
    "no id": lambda: written(pushed(body=json.dumps([["../../etc/passwd"], {}, {}]))),
    "two ids": lambda: written(pushed(body=json.dumps([[ID, ID], {}, {}]))),
    "a named id": lambda: written(pushed(body=json.dumps([[], {"job_id": ID}, {}]))),
    "a chain": lambda: written(pushed(body=json.dumps([[ID], {}, {"chain": [{"task": "x"}]}]))),
    "a later time": lambda: written(pushed(eta="2999-01-01T00:00:00+00:00")),
    "a time limit": lambda: written(pushed(timelimit=[1, None])),
}


def written(message: dict[str, Any]) -> bytes:
    return json.dumps(message, default=bytes_to_str).encode()


@pytest.mark.row(161)
def test_whatever_else_is_in_the_queue_is_refused_and_counted(
    server: RedisServer, consume: Consume
) -> None:
    pump = Pump()
    with capture_logs() as said:
        consume(server, pump)
        for count, make in enumerate(REFUSED.values(), 1):
            server.ask("LPUSH", CARRIED, make())
            wait_until(lambda count=count: pump.refused == count)  # type: ignore[misc]
        good = pushed()
        server.ask("LPUSH", CARRIED, written(good))
        wait_until(lambda: pump.ids == [good["headers"]["id"]])
    assert said == []
    wait_until(lambda: not server.ask("HLEN", UNACKED))
    assert not server.ask("LLEN", CARRIED)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "AGAIN_S", 0.01)


@pytest.mark.usefixtures("soon")
def test_what_cannot_begin_begins_later(
    server: RedisServer, consume: Consume, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = Pump()
    with monkeypatch.context() as hindered, capture_logs() as said:
        hindered.setattr(consumer, "Worker", no_thread)
        consume(server, pump)
        wait_until(lambda: said)
    assert said[0]["reason"] == "RuntimeError: can't start new thread"
    send(server, new_job_id())
    assert wait_until(lambda: pump.ids)


def no_thread(*_: Any, **__: Any) -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.usefixtures("soon")
def test_ids_come_again_after_a_fault_while_jobs_are_done(
    server: RedisServer, consume: Consume
) -> None:
    pump = Pump(at_once=False)
    consume(server, pump)
    held, later = new_job_id(), new_job_id()
    send(server, held)
    wait_until(lambda: pump.ids)
    pump.fault = RuntimeError("a fault")
    server.ask("LPUSH", CARRIED, b"[1]")
    wait_until(lambda: pump.fault is None)
    pump.at_once = True
    send(server, later)
    wait_until(lambda: later in pump.futures)


@pytest.mark.row(148)
@pytest.mark.row(151)
def test_ids_come_again_soon_after_redis_does(tmp_path: Path, consume: Consume) -> None:
    pump = Pump()
    own = RedisServer(tmp_path)
    with capture_logs() as said, own.killed():
        consume(own, pump)
        wait_until(lambda: said)
        for start in range(2):
            own.start()
            began = wait_until(lambda start=start: say(said, "back") == start + 1)  # type: ignore[misc]
            assert began
            send(own, new_job_id())
            wait_until(lambda start=start: len(pump.ids) == start + 1)  # type: ignore[misc]
            own.kill()
            wait_until(lambda start=start: say(said, "gone") == start + 2)  # type: ignore[misc]
    assert len(said) == 5, "each is said once"


def say(said: list[Any], word: str) -> int:
    return sum(word in line["event"] for line in said)


def test_where_redis_is_gone_it_ends_soon(consume: Consume, tmp_path: Path) -> None:
    begun = consume(RedisServer(tmp_path), Pump())
    begun.stop()
    assert begun.join(5)


def test_what_cannot_be_sent_is_left_to_the_sweeper(tmp_path: Path) -> None:
    with capture_logs() as said:
        send(RedisServer(tmp_path), new_job_id(), new_job_id())
    assert [line["jobs"] for line in said] == [2]


def test_the_environment_does_not_say_where_ids_go(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("", "READ_", "WRITE_"):
        monkeypatch.setenv(f"CELERY_BROKER_{name}URL", "redis://elsewhere:1/0")
    app = App("redis://here:1/0")
    connections: list[Connection] = [app.connection_for_read(), app.connection_for_write()]
    assert {each.hostname for each in connections} == {"here"}


def test_no_thread_is_left(server: RedisServer, consume: Consume) -> None:
    before = threading.active_count()
    begun = consume(server, Pump())
    begun.stop()
    assert begun.join(10)
    wait_until(lambda: threading.active_count() <= before)
