"""Whatever is done to it again and again leaves a service as large as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.faults import bad
from tests.faults.abuse import IMPATIENT, QUICK, SLOW, Abuse
from tests.faults.conftest import Say
from tests.faults.kept import Address, Kept, address_of, post
from tests.faults.load import ask_again_and_again
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


# One address has no more than 28,000 ports in a minute.
SOURCES = 200
ROW = post(bad.SUMS, b'{"inputs":[1,2,3,4]}')


def connect(address: Address, times: int) -> None:
    """One after the other, with a request on each."""
    for number in range(times):
        with Kept(address, f"127.0.1.{1 + number % SOURCES}") as client:
            assert client.ask(ROW).status == 200


@pytest.mark.row(189)
@pytest.mark.parametrize(
    ("connections", "requests"),
    [(500, 1_000), pytest.param(100_000, 1_000_000, marks=pytest.mark.faults)],
    ids=("500", "100,000"),
)
def test_connections_and_requests_leave_nothing_behind(
    abused: Service, say: Say, connections: int, requests: int
) -> None:
    address, scales = address_of(abused.url), Scales(abused.process.pid)
    connect(address, min(connections, 5_000))
    ask_again_and_again(address, ROW, 1_000)
    assert abused.request("/livez").status == 200
    before, before_mib = scales.count(), scales.weigh_mib()

    connect(address, connections)
    ask_again_and_again(address, ROW, requests)

    assert abused.request("/livez").status == 200  # the ends of the others came before it
    after, grown_mib = scales.count(), scales.weigh_mib() - before_mib
    say(f"descriptors and threads {before} became {after}, grown by {grown_mib:.2f} MiB")
    assert max(now - was for now, was in zip(after, before, strict=True)) <= 2
    assert grown_mib <= MAX_GROWTH_MIB
