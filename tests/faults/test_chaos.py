"""Clients of every kind at once; and in all of it everybody gets his own answer."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.faults.accounting import survives
from tests.faults.bad import bad_set
from tests.faults.chaos import chaos
from tests.faults.conftest import Say
from tests.faults.good import good_set
from tests.faults.identity import crowd, write_echoes
from tests.faults.kept import address_of

pytestmark = pytest.mark.e2e

ENGINE = "inferctl-engine"
# By so much the pictures and the bodies of a moment let memory go up and down (row 185).
SWING_BYTES = 10 * 1024 * 1024
SEED = 27


@pytest.mark.row(27)
@pytest.mark.parametrize(
    "requests", [2_000, pytest.param(100_000, marks=pytest.mark.faults)], ids="{:,}".format
)
def test_in_chaos_every_right_request_that_is_waited_for_gets_its_answer(
    every_task: Service, say: Say, requests: int
) -> None:
    address = address_of(every_task.url)
    goods, bads = good_set(address), bad_set()
    chaos(address, goods, bads, 2_000, SEED, say)  # it has had its largest requests

    with survives(every_task, spare_bytes=SWING_BYTES) as account:
        seen = chaos(address, goods, bads, requests, SEED + 1, say)
        account.answered, account.left = seen.statuses, seen.left

    assert seen.wrong == []
    assert seen.goods + seen.refused + seen.abandoned == seen.asked == requests
    assert seen.right == seen.goods > requests / 10


@pytest.mark.row(90)
@pytest.mark.parametrize(
    ("requests", "deaths"),
    [(2_000, 1), pytest.param(50_000, 2, marks=pytest.mark.faults)],
    ids=("2,000", "50,000"),
)
def test_everybody_gets_his_own_answer_though_rows_fail_and_engines_die(
    tmp_path: Path, say: Say, requests: int, deaths: int
) -> None:
    write_echoes(tmp_path / "models")
    # Rows wait for the engine's successor as long as a busy machine takes to start it.
    waits = ("server.request_timeout_ms=30000", "server.max_request_timeout_ms=30000")
    settings = ("batching.max_wait_ms=2", "batching.max_batch_rows=16", *waits)
    options = [part for setting in settings for part in ("--set", setting)]
    with Service([str(tmp_path / "models"), "--port", "0", *options], tmp_path) as service:

        def kill_the_engine() -> None:
            os.kill(service.pids(ENGINE)[0], signal.SIGKILL)

        incidents: list[Callable[[], None]] = [kill_the_engine] * deaths
        heard = crowd(address_of(service.url), requests, SEED, incidents, say)
        restarts = service.metric('inferctl_restarts_total{role="engine"}')
        batches = service.metric('inference_batch_size_count{model="echoes"}')

    assert heard.wrong == []
    assert heard.own + heard.cancelled + heard.failed == requests
    assert heard.failed > 0
    assert restarts == deaths
    assert batches < requests / 4
