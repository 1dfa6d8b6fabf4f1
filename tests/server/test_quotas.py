"""Quotas of a key: so many a second, so many at once, in all workers together."""

from __future__ import annotations

import pytest

from inferctl.arena.ledger import Ledger
from inferctl.arena.spec import KeySpec
from inferctl.refusals import Overloaded
from inferctl.server.quotas import Quota

from .wiring import make_ledger

NOON_S = 1000.0


def spec(cell: int = 0, **quotas: float) -> KeySpec:
    return KeySpec.model_validate(
        {"name": "app", "digest": "00" * 32, "cell": cell, "scopes": ("predict",), **quotas}
    )


def quotas(workers: int = 2, **limits: float) -> list[Quota]:
    """The same key's in each worker."""
    ledger = make_ledger(workers=workers)
    return [Quota(spec(**limits), ledger, Ledger.FIRST_WORKER + each) for each in range(workers)]


def admitted(quota: Quota, times_s: list[float]) -> int:
    """How many of requests at these times are let in, and answered at once."""
    count = 0
    for now_s in times_s:
        try:
            quota.enter(now_s)
        except Overloaded:
            continue
        quota.leave()
        count += 1
    return count


def test_a_seconds_requests_may_come_at_once_and_then_as_many_a_second() -> None:
    here, there = quotas(requests_per_s=5)
    assert admitted(here, [NOON_S] * 4) == 4
    assert admitted(there, [NOON_S] * 4) == 1
    assert admitted(here, [NOON_S + 0.1]) == 0
    assert admitted(there, [NOON_S + 0.2]) == 1
    assert admitted(here, [NOON_S + 10 + each / 100 for each in range(1000)]) == 54


def test_a_rate_below_one_is_one_request_in_a_while() -> None:
    (quota,) = quotas(1, requests_per_s=0.5)
    assert admitted(quota, [NOON_S, NOON_S + 1, NOON_S + 2, NOON_S + 3]) == 2


def test_what_is_too_much_hears_when_to_come_again() -> None:
    (quota,) = quotas(1, requests_per_s=0.25)
    quota.enter(NOON_S)
    with pytest.raises(Overloaded, match=r"0\.25 times a second") as caught:
        quota.enter(NOON_S + 0.5)
    assert caught.value.retry_after_s == pytest.approx(3.5)
    quota.enter(NOON_S + 4)


def test_nobody_waits_for_what_was_owed_by_other_terms() -> None:
    ledger = make_ledger()
    rare, often = (
        Quota(spec(requests_per_s=rate), ledger, Ledger.FIRST_WORKER) for rate in (0.001, 10)
    )
    assert admitted(rare, [NOON_S, NOON_S]) == 1
    with pytest.raises(Overloaded) as caught:
        often.enter(NOON_S + 1)
    assert caught.value.retry_after_s == pytest.approx(0.1)
    assert admitted(often, [NOON_S + 1.2, NOON_S + 1.3, NOON_S + 1.4]) == 3


def test_so_many_are_under_way_in_all_workers_together() -> None:
    here, there = quotas(max_concurrent=3)
    here.enter(NOON_S)
    here.enter(NOON_S)
    there.enter(NOON_S)
    for quota in (here, there):
        with pytest.raises(Overloaded, match="3 requests under way"):
            quota.enter(NOON_S)
    here.leave()
    there.enter(NOON_S)
    with pytest.raises(Overloaded):
        here.enter(NOON_S)


def test_what_was_refused_was_not_begun() -> None:
    (quota,) = quotas(1, max_concurrent=1, requests_per_s=2)
    quota.enter(NOON_S)
    for _ in range(10):
        with pytest.raises(Overloaded, match="under way"):
            quota.enter(NOON_S)
    quota.leave()
    quota.enter(NOON_S)
    quota.leave()


def test_keys_do_not_count_for_each_other() -> None:
    ledger = make_ledger()
    one, other = (Quota(spec(cell, max_concurrent=1), ledger, 2) for cell in (0, 1))
    one.enter(NOON_S)
    other.enter(NOON_S)


def test_without_a_quota_there_is_no_end() -> None:
    (quota,) = quotas(1)
    for _ in range(1000):
        quota.enter(NOON_S)
