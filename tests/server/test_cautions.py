"""Each caution comes for its cause, and says what to do."""

from __future__ import annotations

import sys
import time
from types import SimpleNamespace

import pytest

from inferctl.arena.ledger import DIED_S, Ledger
from inferctl.server import cautions
from inferctl.server.restarts import RECENT_S
from tests.tasks.tinybundles import detector

from .wiring import catalogue_of, make_ledger, make_models


def test_batches_that_were_too_large_are_told() -> None:
    ledger = make_ledger("shapes")
    catalogue = catalogue_of(*make_models(detector(), ledger=ledger))
    assert list(cautions.of_memory(ledger, catalogue)) == []
    ledger.blocks[Ledger.ENGINE].cell("inferctl_batch_cap_rows").set(8)
    (said,) = cautions.of_memory(ledger, catalogue)
    assert said.startswith("shapes: memory ran out, so batches have 8 rows at most: lower ")


def test_lines_of_the_log_that_were_lost_are_told() -> None:
    ledger = make_ledger(workers=2)
    assert list(cautions.of_the_past(ledger)) == []
    for worker in (2, 3):
        ledger.blocks[worker].cell("inferctl_log_dropped_total").add(3)
    (said,) = cautions.of_the_past(ledger)
    assert said.startswith("6 lines of the request log were lost")


@pytest.mark.row(136)
def test_a_job_store_that_was_put_aside_is_told() -> None:
    ledger = make_ledger()
    assert list(cautions.of_the_past(ledger)) == []
    ledger.blocks[Ledger.SUPERVISOR].cell("inferctl_job_store_recreated").set(1)
    (said,) = cautions.of_the_past(ledger)
    assert said.startswith("the job store was damaged when the service started")


@pytest.mark.parametrize(("ago_s", "is_told"), [(1.0, True), (RECENT_S + 1, False)])
def test_a_restart_is_told_for_some_minutes(ago_s: float, is_told: bool) -> None:
    ledger = make_ledger()
    ledger.blocks[Ledger.ENGINE].state(DIED_S).set(time.monotonic() - ago_s)
    assert bool(list(cautions.of_the_past(ledger))) is is_told


@pytest.mark.row(122)
@pytest.mark.parametrize("dev_mode", [True, False])
def test_development_mode_is_told(dev_mode: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "flags", SimpleNamespace(dev_mode=dev_mode))
    assert bool(list(cautions.of_debugging())) is dev_mode


def test_what_is_not_served_is_told() -> None:
    catalogue = catalogue_of(*make_models(detector()))
    problems = {"shapes version 4": "the graph is damaged (model.onnx)"}
    catalogue.roster = catalogue.roster.model_copy(update={"problems": problems})
    assert list(cautions.of_versions(catalogue)) == [
        "shapes version 4 is not served: the graph is damaged (model.onnx)"
    ]
