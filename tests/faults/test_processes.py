"""Processes that die, hang, starve, or never start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e import multiples
from tests.e2e.clients import asking
from tests.e2e.conftest import Start
from tests.e2e.multiples import Shelf
from tests.e2e.service import START_TIMEOUT_S, Service, wait_for_end

from .asking import BATCHES_OF_EIGHT, Told, ask, slowness, together
from .kit import LEAST, VOCABULARY, write_kit

pytestmark = pytest.mark.e2e

ENGINE, WORKER = "inferctl-engine", "inferctl-worker"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some of the kit, and a model that answers what it is asked."""
    shelf = Shelf(tmp_path_factory.mktemp("kit"))
    shelf.put(1)
    write_kit(shelf.models, "divmin", "gather", "loop")
    return shelf.models


CLIENTS = 8
ANSWERED = f'inference_requests_total{{model="{multiples.NAME}",outcome="ok"}}'
DEFAULT = ("--set", f"models.{multiples.NAME}.default=true")


def kill_engine(service: Service, number: signal.Signals, deaths: int) -> float:
    """Kill it; seconds until the supervisor saw it."""
    give_up_s = time.monotonic() + START_TIMEOUT_S
    while not (engines := service.pids(ENGINE)):
        assert service.process.poll() is None
        assert time.monotonic() < give_up_s, "no engine comes"
    begun_s = time.monotonic()
    os.kill(engines[0], number)
    service.wait_for_line(" died ", count=deaths)
    return time.monotonic() - begun_s


@pytest.mark.row(92, 93)
def test_however_an_engine_dies_no_request_fails(start: Start) -> None:
    # Where a start takes a second a quarter of it would do.
    service = start("--workers", "2", "--set", "server.request_timeout_ms=20000", *DEFAULT)
    ends = [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]

    with asking(service, CLIENTS) as clients:
        seen_s, back_s = [], []
        for deaths, end in enumerate(ends, start=1):
            begun_s = time.monotonic()
            seen_s.append(kill_engine(service, end, deaths))
            service.wait_for_line("ready again", count=deaths)
            back_s.append(time.monotonic() - begun_s)
            # Who waited is answered before the next death.
            service.wait_for_metric(ANSWERED, service.metric(ANSWERED) + 2 * CLIENTS)

    assert clients.failures == []
    assert min(seen_s) < 0.1
    assert min(back_s) < 2 * slowness(service)
    for reason, count in (("killed", 1), ("crash", 2), ("timeout", 0), ("exit", 0)):
        assert service.metric(f'inferctl_engine_restarts_total{{reason="{reason}"}}') == count


@pytest.mark.faults
@pytest.mark.row(92)
def test_an_engine_that_is_killed_every_five_seconds_fails_no_request(start: Start) -> None:
    service = start("--workers", "2", *DEFAULT)

    with asking(service, 16) as clients:
        for deaths in range(1, 11):
            kill_engine(service, signal.SIGKILL, deaths)
            time.sleep(5)  # what the row says

    assert clients.failures == []
    assert service.metric('inferctl_engine_restarts_total{reason="killed"}') == 10


@pytest.mark.faults
@pytest.mark.row(84)
def test_rows_that_kill_the_engine_again_and_again_do_not_end_the_service(start: Start) -> None:
    service = start("--workers", "2", *BATCHES_OF_EIGHT)

    for _ in range(4):
        told = together(service, "divmin", [1, 2, LEAST, LEAST, 3, 4, 5, 6])
        assert [one.status for one in told] == [200, 200, 500, 500, 200, 200, 200, 200]

    assert service.metric('inferctl_engine_restarts_total{reason="crash"}') == 12
    assert service.request("/readyz").status == 200


@pytest.mark.row(94)
def test_a_model_that_kills_the_first_engine_is_said_with_exit_code_3(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.put(1, multiples.killer())

    service = Service([str(shelf.models), "--port", "0"], tmp_path)

    assert service.process.wait(30) == 3
    service.wait_for_line("the engine died while starting: killed by SIGFPE")


@pytest.mark.row(94)
def test_an_engine_that_cannot_come_back_ends_the_service(start: Start) -> None:
    """Until then liveness holds, readiness does not, and nothing hangs."""
    service = start("--workers", "1", *DEFAULT)
    kill_engine(service, signal.SIGKILL, 1)
    assert service.request("/livez").status == 200
    assert service.request("/readyz").status == 503

    for deaths in range(2, 7):
        kill_engine(service, signal.SIGKILL, deaths)  # before it is ready

    service.wait_for_line("keeps dying")
    assert service.process.wait(20) == 3


@pytest.mark.row(95)
def test_a_killed_supervisor_leaves_nothing(start: Start) -> None:
    """Neither an engine that hangs, nor a worker whose client does not send on."""
    shared = sorted(Path("/dev/shm").iterdir())
    service = start("--workers", "2", *DEFAULT)
    (engine,), workers = service.pids(ENGINE), service.pids(WORKER)
    host, port = service.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        os.kill(engine, signal.SIGSTOP)

        service.process.kill()
        service.process.wait()
        killed_s = time.monotonic()
        wait_for_end([engine, *workers])

        assert time.monotonic() - killed_s < 1.5
    assert sorted(Path("/dev/shm").iterdir()) == shared
    successor = start("--port", port, *DEFAULT)
    assert successor.request("/livez").status == 200


@pytest.mark.row(100)
def test_a_service_whose_engine_is_stuck_ends_at_its_drain_limit(start: Start) -> None:
    service = start(
        "--workers", "1", "--set", "server.drain_timeout_s=1",
        "--set", "server.request_timeout_ms=500", *DEFAULT,
    )  # fmt: skip
    (engine,) = service.pids(ENGINE)
    told: list[Told] = []
    client = threading.Thread(target=lambda: told.append(ask(service, "gather", [1])))
    os.kill(engine, signal.SIGSTOP)
    client.start()
    service.wait_for_metric('inferctl_in_flight{model="gather"}', 1)

    begun_s = time.monotonic()
    assert service.stop() == 0

    assert time.monotonic() - begun_s < 1 + 2 + 2
    wait_for_end([engine])
    client.join()
    assert told[0].status == 504


# Loads a model, and starts the service in a fork, which has none of its threads.
LAUNCHER = """
import os, signal, sys
import onnxruntime
onnxruntime.InferenceSession(sys.argv.pop(1))
service = os.fork()
if service:
    signal.signal(signal.SIGTERM, lambda *_: os.kill(service, signal.SIGTERM))
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(service, 0)[1]))
from inferctl.__main__ import main
try:
    main()
except SystemExit as end:
    os._exit(end.code or 0)  # onnxruntime would wait for its threads
"""


@pytest.mark.row(102)
def test_a_launcher_that_loaded_onnxruntime_takes_no_threads_away(
    models: Path, tmp_path: Path
) -> None:
    graph = str(models / "gather" / "1" / "model.onnx")
    with Service(
        [str(models), "--port", "0", "--workers", "1", "--set", "runtime.intra_op_threads=3"],
        tmp_path,
        command=[sys.executable, "-c", LAUNCHER, graph, "serve"],
    ) as service:
        (engine,) = service.pids(ENGINE)
        threads = len(list(Path(f"/proc/{engine}/task").iterdir()))

        assert ask(service, "gather", [5]).y == [5]
        # Two more for each of four models, besides those that run their batches.
        assert threads >= 4 * 2


@contextmanager
def busy(core: int, processes: int) -> Iterator[None]:
    """Processes that each take their share of a core; sessions share as groups, so each has one."""
    loop = ["sh", "-c", "while :; do :; done"]
    hogs = [subprocess.Popen(loop, start_new_session=True) for _ in range(processes)]
    try:
        for hog in hogs:
            os.sched_setaffinity(hog.pid, {core})
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


@pytest.mark.faults
@pytest.mark.row(14)
def test_an_engine_that_starves_is_not_killed(start: Start) -> None:
    """A run of half a second of CPU takes ten, as one of twenty processes on a core."""
    service = start("--workers", "1", "--set", "runtime.max_run_ms=1500", *DEFAULT)
    (engine,) = service.pids(ENGINE)
    for task in Path(f"/proc/{engine}/task").iterdir():
        os.sched_setaffinity(int(task.name), {0})

    with busy(0, 20):
        told = ask(service, "loop", [500_000], timeout_ms=60_000)

    assert (told.status, told.y) == (200, [500_000])
    assert told.took_s > 3, "it did not starve"
    assert service.pids(ENGINE) == [engine]


@pytest.mark.faults
@pytest.mark.row(83)
@pytest.mark.parametrize(("bad_of_ten", "goodput"), [(1, 0.8), (5, 0.4)])
def test_in_a_rain_of_bad_rows_the_good_ones_are_answered(
    start: Start, bad_of_ten: int, goodput: float
) -> None:
    service = start("--workers", "1", *DEFAULT)
    told: list[tuple[bool, Told]] = []
    end_s = time.monotonic() + 20

    def client(number: int) -> None:
        turn = number
        while time.monotonic() < end_s:
            turn += 3
            is_bad = turn % 10 < bad_of_ten
            told.append((is_bad, ask(service, "gather", [VOCABULARY if is_bad else number])))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()

    good = [one.status for is_bad, one in told if not is_bad]
    assert good.count(200) >= goodput * len(good)
    assert {one.status for is_bad, one in told if is_bad} == {500}
    assert service.metric('inferctl_restarts_total{role="engine"}') == 0
