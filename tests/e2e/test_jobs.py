"""Jobs of a real service: done beside requests, kept in a folder, handed on to a successor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.faults.accounting import accounted
from tests.faults.jobs import (
    jobs_of,
    result,
    submit,
    submit_all,
    wait_for,
    wait_until_all_are_over,
    wait_until_running,
)
from tests.faults.kit import write_kit

pytestmark = pytest.mark.e2e

ROW = {"inputs": [1, 2, 3, 4]}
SHORT = 100_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_kit(tmp_path / "models", "echo", "loop")
    return tmp_path


def serve(folder: Path, *arguments: str) -> Service:
    models = str(folder / "models")
    return Service([models, "--workers", "2", "--device", "cpu", *arguments], folder)


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    with serve(folder, "--port", "0") as running:
        yield running


def test_a_job_is_done_and_told_and_is_no_request(service: Service, folder: Path) -> None:
    with accounted(service) as seen:
        one = submit(service, "echo", ROW)
        many = submit(service, "echo", *[ROW] * 100)
        seen.answered[202] += 2
        wait_until_all_are_over(folder)
        assert result(service, one).json["outputs"]["y"] == [1, 2, 3, 4]
        lines = [json.loads(line) for line in result(service, many).body.splitlines()]
        seen.answered[200] += 2
        assert [line["item"] for line in lines] == list(range(100))
        assert {line["status"] for line in lines} == {200}
    assert service.metric("inferctl_job_items_total") == 101
    assert service.metric('inferctl_jobs_total{state="done"}') == 2


def test_what_is_kept_is_for_its_owner_alone(service: Service, folder: Path) -> None:
    wait_for(service, submit(service, "echo", ROW))
    state = folder / "state"
    assert state.stat().st_mode & 0o777 == 0o700
    assert {file.name for file in state.iterdir()} >= {"jobs.sqlite3", "jobs.lock"}
    for file in state.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file


def test_a_second_service_needs_a_folder_of_its_own(service: Service, folder: Path) -> None:
    second = serve(folder, "--port", "0")
    assert second.process.wait(30) == 3
    assert second.stop() == 3
    (line,) = [line for line in second.lines if "another server" in line]
    assert "jobs.path" in line
    with serve(folder, "--port", "0", "--set", "jobs.path=other") as other:
        wait_for(other, submit(other, "echo", ROW))


def test_a_successor_on_the_port_goes_on_with_the_jobs(service: Service, folder: Path) -> None:
    port = service.url.rpartition(":")[2]
    jobs = submit_all(folder, "loop", [{"inputs": [SHORT + number]} for number in range(20)])
    wait_until_running(folder, 1)
    with serve(folder, "--port", port, "--set", "server.share_port=true"):
        assert service.stop() == 0
        found = wait_until_all_are_over(folder)
    assert [found[job].state for job in jobs] == ["done"] * 20
    assert {found[job].attempts for job in jobs} == {1}


def test_where_jobs_are_off_there_is_nothing_of_them(folder: Path) -> None:
    with serve(folder, "--port", "0", "--set", "jobs.backend=off") as service:
        assert service.post_json("/jobs", {"model": "echo", "item": ROW}).status == 404
        assert service.post_json("/models/echo/predict", ROW).status == 200
    assert not (folder / "state").exists()


def test_who_only_takes_jobs_in_does_none(folder: Path) -> None:
    with serve(folder, "--port", "0", "--set", "jobs.run=false") as service:
        job_id = submit(service, "echo", ROW)
        assert service.stop() == 0
    assert jobs_of(folder)[job_id].state == "queued"
    with serve(folder, "--port", "0") as service:
        assert wait_for(service, job_id)["state"] == "done"


def test_a_damaged_store_may_end_the_start(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "jobs.sqlite3").write_bytes(b"rubbish" * 1000)
    strict = serve(folder, "--port", "0", "--strict-store")
    assert strict.process.wait(30) == 3
    assert strict.stop() == 3
    with serve(folder, "--port", "0") as service:
        warnings = service.request("/health").json["warnings"]
        assert any("the job store was damaged" in warning for warning in warnings)
        assert service.metric("inferctl_job_store_recreated") == 1
