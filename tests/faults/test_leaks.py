"""Whatever is done to it again and again leaves a service as large as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.faults.abuse import IMPATIENT, QUICK, SLOW, Abuse
from tests.faults.conftest import Say
from tests.faults.kept import address_of
from tests.faults.memory import Scales

pytestmark = pytest.mark.e2e

MAX_GROWTH_MIB = 1.0
TIMES = 100


@pytest.fixture(scope="module")
def abused(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without patience, which has one worker."""
    settings = ["models.mood.default=true", "logs.path=/dev/null", *IMPATIENT]
    options = [part for setting in settings for part in ("--set", setting)]
    running = Service(
        [str(tiny_models), "--port", "0", "--workers", "1", *options],
        tmp_path_factory.mktemp("abused"),
    )
    running.wait_until_ready()
    yield running
    assert running.metric('inferctl_restarts_total{role="worker"}') == 0
    assert running.stop() == 0


@pytest.mark.row(187)
def test_abuse_leaves_a_service_as_it_was(every_task: Service) -> None:
    for abuse in QUICK.values():
        abuse(address_of(every_task.url), 1)

    assert every_task.request("/readyz").status == 200


@pytest.mark.faults
@pytest.mark.row(187)
@pytest.mark.parametrize("abuse", [*QUICK.values(), *SLOW.values()], ids=[*QUICK, *SLOW])
def test_abuse_a_hundred_times_takes_no_memory(abused: Service, say: Say, abuse: Abuse) -> None:
    address, scales = address_of(abused.url), Scales(abused.process.pid)
    abuse(address, TIMES // 5)
    before_mib = scales.weigh_mib()

    abuse(address, TIMES)

    grown_mib = scales.weigh_mib() - before_mib
    say(f"grown by {grown_mib:.2f} MiB")
    assert grown_mib <= MAX_GROWTH_MIB
