"""Done when: versions come and go under load, and no request fails, whatever is wrong with them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.clients import asking
from tests.e2e.multiples import BROKEN, NAME, Shelf, deadly
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

ENGINE, WORKER = "inferctl-engine", "inferctl-worker"
RELOADS = 50
MIB = 1024 * 1024

Serve = Callable[..., Service]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A folder of models with version 1."""
    shelf = Shelf(tmp_path)
    shelf.put(1)
    return shelf


@pytest.fixture
def serve(shelf: Shelf, tmp_path: Path) -> Iterator[Serve]:
    """Start a service on it that ends with the test."""
    services: list[Service] = []

    def serve_it(*arguments: str) -> Service:
        service = Service([str(shelf.models), "--port", "0", *arguments], tmp_path)
        services.append(service)
        service.wait_until_ready()
        return service

    yield serve_it
    for service in services:
        assert service.stop() == 0, "".join(service.lines)


def reload(service: Service, count: int = 1) -> None:
    """SIGHUP; returns when the `count`-th reload of the service is over."""
    service.process.send_signal(signal.SIGHUP)
    service.wait_for_line("reloaded", count)


def version(service: Service, query: str = "") -> int | str:
    """The version that answers, or the code of what is wrong."""
    answer = service.post_json(f"/models/{NAME}/predict{query}", {"inputs": [1, 2, 3, 4]}).json
    if "code" in answer:
        return str(answer["code"])
    assert answer["outputs"]["output"] == [answer["version"] * value for value in (1, 2, 3, 4)]
    return int(answer["version"])


def memory_bytes(service: Service) -> int:
    """Proportional set size of all processes."""
    pids = [service.process.pid, *service.pids(ENGINE), *service.pids(WORKER)]
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(text.split("Pss:")[1].split()[0]) * 1024 for text in texts)


def wait_until_unloaded(service: Service) -> None:
    """What is not on the roster is gone: only the served version has an arena."""
    (engine,) = service.pids(ENGINE)
    give_up = threading.Event()
    for _ in range(1000):
        if Path(f"/proc/{engine}/maps").read_text().count("memfd:inferctl-arena") == 1:
            return
        give_up.wait(0.01)
    raise AssertionError("a version is still in memory")


def test_each_worker_opens_a_request_log_that_was_renamed(serve: Serve, tmp_path: Path) -> None:
    """Nobody asks anything meanwhile: it is the signal that they heard."""
    service = serve("--workers", "2")
    log = tmp_path / "logs" / "requests.log"
    log.rename(log.with_suffix(".1"))
    reload(service)
    give_up = threading.Event()
    for _ in range(1000):
        opened = [file for pid in service.pids(WORKER) for file in files_of(pid)]
        if opened.count(log) == 2:
            break
        give_up.wait(0.01)
    assert opened.count(log) == 2
    assert log.with_suffix(".1") not in opened


def files_of(pid: int) -> Iterator[Path]:
    """What a process has open."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed meanwhile
            yield descriptor.readlink()


@pytest.mark.row(108)
@pytest.mark.parametrize("crowd", [32, pytest.param(64, marks=pytest.mark.faults)])
def test_of_50_reloads_under_load_nobody_notices_anything(
    shelf: Shelf, serve: Serve, crowd: int
) -> None:
    service = serve("--workers", "2")
    with asking(service, crowd) as clients:
        for count in range(1, RELOADS + 1):
            if count % 2:
                shelf.put(2)
            else:
                shelf.take(2)
            reload(service, count)
            if count == 2:
                wait_until_unloaded(service)
                before = memory_bytes(service)
    wait_until_unloaded(service)

    assert clients.failures == []
    assert set(clients.versions) == {1, 2}
    assert memory_bytes(service) - before < 10 * MIB
    series = f'inference_requests_total{{model="{NAME}",outcome="ok"}}'
    assert service.metric(series) == sum(clients.versions.values())
    assert service.metric('inferctl_reloads_total{outcome="ok"}') == RELOADS
    assert service.metric("inferctl_in_flight") == 0


@pytest.mark.row(104, 105, 109)
def test_a_broken_version_never_unseats_a_good_one(shelf: Shelf, serve: Serve) -> None:
    service = serve("--workers", "2")
    with asking(service, 4) as clients:
        for count, (damage, reason) in enumerate(BROKEN, start=1):
            damage(shelf)
            reload(service, 2 * count - 1)
            (warning,) = warnings_of_version_2(service)
            assert warning.startswith(f"{NAME} version 2 is not served: ")
            assert reason in warning
            if damage is deadly:
                service.wait_for_line("ready again")
            assert version(service) == 1
            shelf.remove(2)
            reload(service, 2 * count)
            assert warnings_of_version_2(service) == []
    wait_until_unloaded(service)

    assert clients.failures == []
    assert set(clients.versions) == {1}
    assert service.metric('inferctl_reloads_total{outcome="failed"}') == len(BROKEN)


def warnings_of_version_2(service: Service) -> list[str]:
    """Those of `/health`; that the model is on the CPU is one of the other version."""
    warnings = service.request("/health").json["warnings"]
    return [line for line in warnings if f"{NAME} version 2" in line]


def test_a_request_stays_with_the_version_that_it_began_with(shelf: Shelf, serve: Serve) -> None:
    service = serve("--set", "batching.max_wait_ms=1500", "--set", "batching.max_batch_rows=8")
    answered: list[int | str] = []
    client = threading.Thread(target=lambda: answered.append(version(service)))
    client.start()
    service.wait_for_metric(f'inferctl_queue_rows{{model="{NAME}"}}', 1)
    shelf.put(2)
    reload(service)
    assert service.request(f"/models/{NAME}").json["version"] == 2
    client.join()

    assert answered == [1]
    wait_until_unloaded(service)


def test_processes_that_die_in_a_reload_come_back_with_what_is_served(
    shelf: Shelf, serve: Serve
) -> None:
    service = serve("--workers", "2")
    for count, name in enumerate((WORKER, ENGINE, WORKER), start=1):
        shelf.put(count + 1)
        service.process.send_signal(signal.SIGHUP)
        os.kill(service.pids(name)[0], signal.SIGKILL)
        service.wait_for_line("ready again", count)
        service.wait_for_line("reloaded", count)
    shelf.put(5)
    reload(service, 4)

    assert {version(service) for _ in range(32)} == {5}
    wait_until_unloaded(service)


def test_pins_and_labels_are_read_again(shelf: Shelf, serve: Serve, tmp_path: Path) -> None:
    for number in (2, 3):
        shelf.put(number)
    config = tmp_path / "inferctl.toml"
    config.write_text(f"[models.{NAME}]\nlabels = {{ stable = 1, canary = 2 }}\n")
    service = serve("--config", str(config))
    asked = ["", "?version=1", "?version=canary", "?version=latest", "?version=4"]

    assert [version(service, query) for query in asked] == [1, 1, 2, 3, "not_found"]
    config.write_text(f"[models.{NAME}]\nversions = [2, 3]\nlabels = {{ stable = 2 }}\n")
    reload(service)
    assert [version(service, query) for query in asked] == [
        2,
        "not_found",
        "not_found",
        3,
        "not_found",
    ]
    described = service.request(f"/models/{NAME}").json
    assert (described["versions"], described["version_labels"]) == ([2, 3], {"stable": 2})

    config.write_text(f"[models.{NAME}]\nversions = [7]\n")
    reload(service, 2)
    assert "version 7 is not there" in str(service.request("/health").json["warnings"])
    assert version(service) == 2


def test_without_leave_nobody_loads_over_http(serve: Serve) -> None:
    service = serve()
    for what in ("load", "unload"):
        answer = service.request(f"/v2/repository/models/{NAME}/{what}", b"")
        assert (answer.status, "server.admin" in answer.json["error"]) == (501, True)
    assert version(service) == 1


def test_over_http_models_are_loaded_unloaded_and_listed(shelf: Shelf, serve: Serve) -> None:
    service = serve("--set", "server.admin=true", "--workers", "2")

    def change(what: str) -> tuple[int, str]:
        answer = service.request(f"/v2/repository/models/{NAME}/{what}", b"")
        return answer.status, answer.json["error"] if answer.body else ""

    def states() -> dict[str, str]:
        listed = service.request("/v2/repository/index", b"").json
        return {one["version"]: one["state"] for one in listed}

    shelf.put(2)
    assert states() == {"1": "READY", "2": "UNAVAILABLE"}
    assert change("load") == (200, "")
    assert states() == {"1": "UNAVAILABLE", "2": "READY"}
    assert {version(service) for _ in range(16)} == {2}

    (shelf.put(3) / "model.onnx").unlink()
    status, said = change("load")
    assert (status, version(service)) == (400, 2)
    assert said.startswith(f"{NAME} version 3: the bundle's file 'model.onnx' is missing")

    assert change("unload") == (200, "")
    assert {version(service) for _ in range(16)} == {"not_found"}
    assert service.request("/models").json == {"models": []}
    assert change("unload")[0] == 400
    shelf.remove(3)
    assert change("load") == (200, "")
    assert {version(service) for _ in range(16)} == {2}
