"""Whatever is done to it again and again leaves a service as large as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.faults import bad
from tests.faults.abuse import IMPATIENT, MIB, QUICK, SLOW, Abuse
from tests.faults.conftest import Say
from tests.faults.kept import Address, Kept, address_of, post
from tests.faults.leak import leaking
from tests.faults.load import ask_again_and_again
from tests.faults.memory import Scales

pytestmark = pytest.mark.e2e

MAX_GROWTH_MIB = 1.0
TIMES = 100


def impatient(models: Path, folder: Path, environment: Mapping[str, str] | None = None) -> Service:
    """A service that has one worker, and waits for nobody."""
    settings = ["models.mood.default=true", "logs.path=/dev/null", *IMPATIENT]
    options = [part for setting in settings for part in ("--set", setting)]
    arguments = [str(models), "--port", "0", "--workers", "1", *options]
    return Service(arguments, folder, environment=environment)


@pytest.fixture(scope="module")
def abused(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One such service."""
    with impatient(tiny_models, tmp_path_factory.mktemp("abused")) as running:
        yield running
        assert running.metric('inferctl_restarts_total{role="worker"}') == 0


def growth_mib(service: Service, abuse: Abuse) -> float:
    """What a service keeps of twice a hundred times the same: of one hundred 10 KiB each, which
    must be seen, were a little less than what is allowed."""
    address, scales = address_of(service.url), Scales(service.process.pid)
    abuse(address, TIMES // 5)
    before_mib = scales.weigh_mib()

    abuse(address, TIMES)
    abuse(address, TIMES)

    return scales.weigh_mib() - before_mib


# glibc reserves so much for the heap of a thread, at a multiple of it.
HEAP_BYTES = 64 * MIB


def heaps_of_threads(pid: int) -> int:
    """How many a process has besides its own, which all threads are to share."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    regions = [
        (*(int(end, 16) for end in line.split()[0].split("-")), line.split()[1]) for line in lines
    ]
    return sum(
        (start % HEAP_BYTES, access, rest_access) == (0, "rw-p", "---p")
        and (end, start + HEAP_BYTES) == (rest_start, rest_end)
        for (start, end, access), (rest_start, rest_end, rest_access) in pairwise(regions)
    )


@pytest.mark.row(187)
def test_the_threads_of_a_worker_share_its_heap(abused: Service) -> None:
    """Of one of their own the end is never given back: 64 MiB of each, after large images."""
    (worker,) = abused.pids("inferctl-worker")

    assert heaps_of_threads(worker) == 0


@pytest.mark.row(187)
def test_abuse_leaves_a_service_as_it_was(every_task: Service) -> None:
    for abuse in QUICK.values():
        abuse(address_of(every_task.url), 1)

    assert every_task.request("/readyz").status == 200


@pytest.mark.faults
@pytest.mark.row(187)
@pytest.mark.parametrize("abuse", [*QUICK.values(), *SLOW.values()], ids=[*QUICK, *SLOW])
def test_abuse_a_hundred_times_takes_no_memory(abused: Service, say: Say, abuse: Abuse) -> None:
    grown_mib = growth_mib(abused, abuse)

    say(f"grown by {grown_mib:.2f} MiB")
    assert grown_mib <= MAX_GROWTH_MIB


@pytest.mark.row(186)
def test_ten_kib_kept_of_each_abuse_are_seen(tiny_models: Path, tmp_path: Path) -> None:
    with impatient(tiny_models, tmp_path, leaking(tmp_path / "leak", 10 * 1024)) as service:
        assert growth_mib(service, QUICK["36 chunks"]) > 1.5 * MAX_GROWTH_MIB


# One address has no more than 28,000 ports in a minute.
SOURCES = 200
ROW = post(bad.SUMS, b'{"inputs":[1,2,3,4]}')


def connect(address: Address, times: int) -> None:
    """One after the other, with a request on each."""
    for number in range(times):
        with Kept(address, f"127.0.1.{1 + number % SOURCES}") as client:
            assert client.ask(ROW).status == 200


def left_behind(service: Service, connections: int, requests: int) -> tuple[list[int], float]:
    """How many descriptors and threads a service has more after these than after the first of them,
    and by how many MiB it has grown."""
    address, scales = address_of(service.url), Scales(service.process.pid)
    connect(address, min(connections, 5_000))
    ask_again_and_again(address, ROW, 1_000)
    assert service.request("/livez").status == 200
    before, before_mib = scales.count(), scales.weigh_mib()

    connect(address, connections)
    ask_again_and_again(address, ROW, requests)

    assert service.request("/livez").status == 200  # the ends of the others came before it
    more = [now - was for now, was in zip(scales.count(), before, strict=True)]
    return more, scales.weigh_mib() - before_mib


@pytest.mark.row(189)
@pytest.mark.parametrize(
    ("connections", "requests"),
    [(500, 1_000), pytest.param(100_000, 1_000_000, marks=pytest.mark.faults)],
    ids=("500", "100,000"),
)
def test_connections_and_requests_leave_nothing_behind(
    abused: Service, say: Say, connections: int, requests: int
) -> None:
    more, grown_mib = left_behind(abused, connections, requests)

    say(f"{more} more descriptors, threads; grown by {grown_mib:.2f} MiB")
    assert max(more) <= 2
    assert grown_mib <= MAX_GROWTH_MIB


@pytest.mark.faults
@pytest.mark.row(186)
def test_two_bytes_kept_of_each_of_a_million_requests_are_seen(
    tiny_models: Path, tmp_path: Path, say: Say
) -> None:
    with impatient(tiny_models, tmp_path, leaking(tmp_path / "leak", 2)) as service:
        _, grown_mib = left_behind(service, 0, 1_000_000)

    say(f"grown by {grown_mib:.2f} MiB")
    assert grown_mib > 1.5 * MAX_GROWTH_MIB
