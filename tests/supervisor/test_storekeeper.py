"""The folder of jobs has one service that does them, and a store that can be used."""

from __future__ import annotations

import asyncio
import mmap
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from inferctl.arena.ledger import JOBS_ARE_OURS, Ledger, ledger_bytes
from inferctl.deferral import JobsSettings
from inferctl.errors import StartError
from inferctl.jobs.sqlite.preparation import StoreLock
from inferctl.supervisor import storekeeper
from inferctl.supervisor.storekeeper import StoreKeeper


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(mmap.mmap(-1, ledger_bytes(Ledger.FIRST_WORKER + 1)), 1)


def are_ours(ledger: Ledger) -> bool:
    return bool(ledger.blocks[Ledger.SUPERVISOR].state(JOBS_ARE_OURS).get())


def settings(tmp_path: Path, **own: object) -> JobsSettings:
    return JobsSettings(path=str(tmp_path / "state"), **own)


def test_who_comes_first_has_the_jobs(tmp_path: Path, ledger: Ledger) -> None:
    StoreKeeper(settings(tmp_path), ledger, joins=False)
    assert are_ours(ledger)
    assert (tmp_path / "state" / "jobs.sqlite3").exists()
    assert ledger.total("inferctl_job_store_recreated") == 0


@pytest.mark.parametrize(
    ("own", "says"),
    [({"run": False}, True), ({}, False), ({"run": False, "backend": "celery"}, False)],
)
def test_who_leaves_jobs_to_nobody_is_told_so(
    tmp_path: Path, ledger: Ledger, own: dict[str, object], says: bool
) -> None:
    with capture_logs() as logs:
        StoreKeeper(settings(tmp_path, **own), ledger, joins=False)
    assert ["nobody does them" in line["event"] for line in logs] == [True] * says


@pytest.mark.row(138)
def test_a_second_service_does_not_start(tmp_path: Path, ledger: Ledger) -> None:
    lock = StoreLock(tmp_path / "state")
    assert lock.take()
    with pytest.raises(StartError, match="another server does the jobs") as refused:
        StoreKeeper(settings(tmp_path), ledger, joins=False)
    assert "jobs.path" in refused.value.hint
    lock.release()


async def test_a_successor_waits_for_its_turn(tmp_path: Path, ledger: Ledger) -> None:
    lock = StoreLock(tmp_path / "state")
    assert lock.take()
    keeper = StoreKeeper(settings(tmp_path), ledger, joins=True)
    assert not are_ours(ledger)
    keeping = asyncio.create_task(keeper.keep())
    await asyncio.sleep(0)
    lock.release()
    await keeping
    assert are_ours(ledger)


async def test_a_folder_that_is_away_for_a_while_ends_no_waiting(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(storekeeper, "LOOK_EVERY_S", 0)
    answers = iter([False, StartError("it is away"), OSError(5, "it is broken"), True])

    def take(_: StoreLock) -> bool:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(StoreLock, "take", take)
    await StoreKeeper(settings(tmp_path), ledger, joins=True).keep()
    assert are_ours(ledger)
    assert "".join(capfd.readouterr()).count("cannot be taken") == 1


@pytest.mark.row(136)
def test_a_damaged_store_is_told_of(
    tmp_path: Path, ledger: Ledger, capfd: pytest.CaptureFixture[str]
) -> None:
    strict, lenient = tmp_path / "strict", tmp_path / "lenient"
    for folder in (strict, lenient):
        (folder / "state").mkdir(parents=True)
        (folder / "state" / "jobs.sqlite3").write_bytes(b"rubbish" * 1000)
    with pytest.raises(StartError, match="no SQLite database"):
        StoreKeeper(settings(strict, strict_store=True), ledger, joins=False)
    StoreKeeper(settings(lenient), ledger, joins=False)
    assert are_ours(ledger)
    assert ledger.total("inferctl_job_store_recreated") == 1
    assert "the job store was put aside" in "".join(capfd.readouterr())


@pytest.mark.parametrize("backend", ["off", "celery"])
def test_without_a_file_there_is_nothing_to_keep(
    tmp_path: Path, ledger: Ledger, backend: str
) -> None:
    StoreKeeper(settings(tmp_path, backend=backend), ledger, joins=False)
    assert are_ours(ledger)
    assert list(tmp_path.iterdir()) == []
