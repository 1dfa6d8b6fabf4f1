"""How many items are under way: two batches of each instance, shared among the workers."""

from __future__ import annotations

import pytest

from inferctl.arena.ledger import Ledger
from inferctl.server.jobs.window import LEAST_ITEMS, window_items
from tests.server.wiring import few_slots, make_ledger, make_models
from tests.tasks.tinybundles import numbers


@pytest.mark.parametrize(
    ("instances", "batch_rows", "workers", "items"),
    [(1, 8, 1, 16), (2, 8, 2, 16), (1, 8, 3, 6), (1, 1, 4, LEAST_ITEMS), (0, 0, 1, LEAST_ITEMS)],
)
def test_batches_are_kept_full_and_no_more(
    instances: int, batch_rows: int, workers: int, items: int
) -> None:
    ledger = make_ledger("sums")
    (model,) = make_models(numbers(), ledger=ledger)
    engine = ledger.blocks[Ledger.ENGINE]
    engine.cell("inferctl_instances").set(instances)
    engine.cell("inferctl_max_batch_rows").set(batch_rows)
    assert window_items(ledger, model, workers) == items


def test_no_more_is_under_way_than_may_be_in_work() -> None:
    ledger = make_ledger("sums")
    (model,) = make_models(numbers(), ledger=ledger, settings=few_slots(max_concurrent=3))
    engine = ledger.blocks[Ledger.ENGINE]
    engine.cell("inferctl_instances").set(1)
    engine.cell("inferctl_max_batch_rows").set(8)
    assert window_items(ledger, model, 1) == 3
