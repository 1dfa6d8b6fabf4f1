"""What it costs to ask the store, in SQLite's own instructions: times would be the machine's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.refusals import RequestError
from tests.jobs.made import OWNER, begun, done, new, put, release, swept
from tests.jobs.sqlite.folder import StoreFolder


def instructions(store: SqliteStore, ask: Callable[[], object]) -> int:
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    with store._reading() as connection:
        connection.set_progress_handler(counted, 1)
        with suppress(RequestError):
            ask()
        connection.set_progress_handler(None, 0)
    return count


@pytest.mark.row(142)
def test_ids_that_are_not_ones_own_cost_the_same_whatever_they_are(
    sqlite: StoreFolder, store: SqliteStore
) -> None:
    expired = done(store, new(key="bob"))
    sqlite.clock.advance(24 * 3600)
    swept(store)
    theirs = put(store, new(key="bob")).id
    ids = (expired, theirs, "0" * 32, "f" * 32, "malformed", "")
    cost = {job_id: instructions(store, partial(store.find, job_id, "alice")) for job_id in ids}
    assert len(set(cost.values())) == 1, cost
    assert min(cost.values()) > 0


@pytest.mark.row(142)
def test_a_page_tells_nothing_of_others_and_takes_nothing_of_theirs(store: SqliteStore) -> None:
    theirs = put(store, new(key="bob"))
    mine = [put(store).id for _ in range(2)]
    assert store.page("alice", [], 1).next == mine[1]
    assert [job.id for job in store.page("alice", [], 1, mine[1]).jobs] == [mine[0]]
    for after in (theirs.id, "1", "0" * 32):
        with pytest.raises(RequestError):
            store.page("alice", [], 1, after)


def test_a_state_that_is_named_twice_is_one(store: SqliteStore) -> None:
    jobs = [put(store).id for _ in range(2)]
    found = store.page("alice", ["queued", "queued", "done"], 9).jobs
    assert [job.id for job in found] == jobs[::-1]


@pytest.mark.row(191)
def test_what_is_asked_often_does_not_cost_more_when_there_is_much(store: SqliteStore) -> None:
    asked: dict[str, Callable[[], object]] = {
        "find": lambda: store.find(put(store).id, "alice"),
        "submit": lambda: store.submit([new()]),
        "first page": lambda: store.page("alice", ["queued"], 2),
        "claim": lambda: store.claim(OWNER, 1),
        "idle sweep": store.sweep,
    }
    for _ in range(9):
        put(store)
    few = {name: instructions(store, ask) for name, ask in asked.items()}
    store.submit([new() for _ in range(1000)])
    for _ in range(300):
        done(store)
        release(store, begun(store), 600, charged=True)
    many = {name: instructions(store, ask) for name, ask in asked.items()}
    for name, count in many.items():
        assert count < 1.5 * few[name] + 100, name
