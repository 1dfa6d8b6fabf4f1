"""What a trip to the store claims: some beside each other, or one alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from inferctl.jobs.job import Claim
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.server.jobs.trip import Trip
from tests.jobs.made import OWNER, begun, put, release
from tests.jobs.sqlite.folder import StoreFolder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    folder = StoreFolder(tmp_path)
    yield folder.open(max_attempts=2)
    folder.close()


def with_one_attempt_left(store: SqliteStore) -> str:
    claim = begun(store)
    release(store, claim, charged=True)
    return claim.id


def gone(store: SqliteStore, offered: Sequence[str], *, is_beside: bool = False) -> Trip:
    trip = Trip(OWNER, (), (), False, 0, offered, (), 99, 99, 1, is_beside)
    trip.go(store)
    return trip


def ids(claims: Sequence[Claim]) -> list[str]:
    return [claim.id for claim in claims]


@pytest.mark.row(135)
def test_what_is_done_alone_is_claimed_with_no_other(store: SqliteStore) -> None:
    alone, other = with_one_attempt_left(store), put(store).id
    trip = gone(store, [alone, other])
    assert (ids(trip.claims), trip.asked) == ([alone], 1)
    assert store.find(other, None).state == "queued"


@pytest.mark.row(135)
@pytest.mark.parametrize("is_beside", [True, False])
def test_what_is_done_alone_and_was_claimed_beside_others_is_to_be_handed_back(
    is_beside: bool, store: SqliteStore
) -> None:
    first, alone, other = put(store).id, with_one_attempt_left(store), put(store).id
    offered = [alone, other] if is_beside else [first, alone, other]
    trip = gone(store, offered, is_beside=is_beside)
    assert (ids(trip.apart), trip.asked) == ([alone], len(offered))
    assert set(ids(trip.claims)) == set(offered)
    assert [claim.id for claim in trip.items] == [one for one in offered if one != alone]
