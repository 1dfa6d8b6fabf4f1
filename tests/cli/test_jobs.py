"""`inferctl jobs`: what it shows of a server's jobs, and what it does to a store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click import unstyle
from click.testing import Result
from typer.testing import CliRunner

from inferctl.cli import app
from inferctl.client import Client
from inferctl.deferral import JobsSettings
from inferctl.errors import InferctlError, PredictError, UsageError
from inferctl.jobs.job import NewJob, new_job_id
from inferctl.jobs.owners import this_process
from inferctl.jobs.sqlite.preparation import prepare_store
from inferctl.jobs.sqlite.store import SqliteStore
from inferctl.jobs.store import Store
from inferctl.jobs.stores import open_store
from tests.client.jobs.fake import Fake, serving_jobs
from tests.jobs.made import end
from tests.jobs.redis_server import RedisServer

STORE = ("--set", "jobs.path=state")


@pytest.fixture(autouse=True)
def empty_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[Fake]:
    with serving_jobs() as fake:
        yield fake


@pytest.fixture
def store() -> Iterator[SqliteStore]:
    prepare_store(Path("state"), strict=True)
    with closing(SqliteStore(Path("state"), JobsSettings())) as opened:
        yield opened


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["jobs", *words], env={"COLUMNS": "60"})


def run(*words: str) -> str:
    result = invoke(*words)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*words: str) -> InferctlError:
    result = invoke(*words)
    assert isinstance(result.exception, InferctlError), result.output
    return result.exception


def submitted(server: Fake, *texts: str) -> str:
    with Client(server.url) as client:
        return client.submit_many(texts).jobs[0].id


def taken_in(store: Store, *, cancelled: bool = False) -> str:
    job = NewJob(new_job_id(), "mood", "", "", "application/json", [b'{"text":"good"}'])
    store.submit([job])
    if cancelled:
        store.cancel(job.id, None)
    return job.id


# Over HTTP.


def test_the_list_has_a_row_for_each_with_its_whole_id(server: Fake) -> None:
    ids = [submitted(server, "good", "") for _ in range(3)]
    with Client(server.url) as client:
        client.job(ids[2]).status()

    header, *rows = run("list", "--url", server.url).splitlines()

    assert header.split() == ["id", "state", "model", "progress", "failed", "age", "attempts"]
    assert rows[0].split()[:5] == [ids[2], "done", "mood", "2/2", "1"]
    assert [row.split()[0] for row in rows] == ids[::-1]
    assert all(row.rstrip().endswith(" 1") for row in rows)


def test_a_narrow_terminal_shows_fewer_columns_and_whole_ids(
    server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = submitted(server, "good")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")

    header, row = unstyle(run("list", "--url", server.url)).splitlines()

    assert header.split() == ["id", "state", "progress", "failed"]
    assert job_id in row
    assert max(map(len, (header, row))) <= 60


def test_the_list_is_cut_and_filtered(server: Fake) -> None:
    ids = [submitted(server, "good") for _ in range(4)]
    run("cancel", ids[1], "--url", server.url)

    def listed(*words: str) -> list[str]:
        return [one["id"] for one in json.loads(run("list", "--json", "--url", server.url, *words))]

    assert listed("-n", "3") == ids[:0:-1]
    assert listed("--state", "cancelled,done") == [ids[1]]
    assert listed("--state", "cancelled", "--state", "queued") == ids[::-1]


def test_show_tells_everything_of_a_job(server: Fake) -> None:
    job_id = submitted(server, "", "")

    shown = run("show", job_id, "--url", server.url)
    (document,) = json.loads(run("show", job_id, "--url", server.url, "--json"))

    assert job_id in shown
    assert "2/2 100%" in shown
    assert "it is empty_text; do otherwise" in " ".join(shown.split())
    assert "2026-11-27 04:00:00 UTC" in shown
    assert document["state"] == "failed"
    assert document["created_at"] == "2026-11-27T04:00:00+00:00"


def test_cancel_tells_of_each_and_of_those_that_refused(server: Fake) -> None:
    waiting, done = submitted(server, "good"), submitted(server, "good")
    with Client(server.url) as client:
        client.job(done).status()

    result = invoke("cancel", done, waiting, "--url", server.url)

    assert result.stdout == f"{waiting} cancelled\n"
    assert str(result.exception) == f"it is conflict ({done}); do otherwise"
    assert isinstance(result.exception, PredictError)


def test_results_are_lines_called_by_job_and_number(server: Fake) -> None:
    job_id = submitted(server, "good", "", "bad")

    error = refusal("results", job_id, "--url", server.url, "-o", "r.jsonl")

    lines = [json.loads(line) for line in Path("r.jsonl").read_text().splitlines()]
    assert [line["input"] for line in lines] == [f"{job_id}.{number}" for number in range(3)]
    assert [line.get("label") for line in lines] == ["good", None, "bad"]
    assert lines[1]["error"]["code"] == "empty_text"
    assert str(error) == '1 of 3 items failed (r.jsonl); their lines have an "error"'


def test_a_server_that_goes_away_leaves_what_there_is_and_a_way_to_go_on(server: Fake) -> None:
    server.pace, server.retry_after = 1, "0.01"
    job_id = submitted(server, "good", "bad", "good")
    server.vanishing = True

    error = refusal("results", job_id, "--url", server.url, "-o", "r.jsonl")

    assert "after 2 of 3 items" in error.what
    assert error.hint == f"go on: inferctl jobs results {job_id} --url {server.url}"
    assert len(Path("r.jsonl.partial").read_text().splitlines()) == 2


def test_a_server_that_is_not_there_is_one_line_at_once() -> None:
    begun_s = time.monotonic()
    for command in (["list"], ["show", "1" * 32], ["cancel", "1" * 32], ["submit", "-"]):
        error = refusal(*command, "--url", "http://127.0.0.1:9")
        assert error.exit_code == 8
        assert str(error).startswith("the server does not answer")
        assert "\n" not in str(error)
    assert time.monotonic() - begun_s < 10


def test_an_output_without_waiting_makes_no_sense() -> None:
    assert isinstance(refusal("submit", "photos", "-o", "r.jsonl"), UsageError)


# In a store.


def test_what_was_cancelled_is_queued_again(store: SqliteStore) -> None:
    job_id = taken_in(store, cancelled=True)

    assert run("retry", job_id, *STORE) == f"{job_id} queued\n"
    assert store.find(job_id, None).state == "queued"


def test_what_failed_is_begun_anew(store: SqliteStore) -> None:
    job_id = taken_in(store)
    (claim,) = store.claim(this_process(), 1)
    end(store, claim, "failed", {"status": 500, "code": "row_failed", "detail": "no"})

    run("retry", job_id, *STORE)

    assert store.find(job_id, None).attempts == 0


def test_retry_tells_why_not(store: SqliteStore) -> None:
    waiting, cancelled, unknown = taken_in(store), taken_in(store, cancelled=True), "1" * 32

    result = invoke("retry", waiting, cancelled, unknown, *STORE)

    assert result.stdout == f"{cancelled} queued\n"
    first, second = str(result.exception).splitlines()
    assert first == f"the job is queued ({waiting})"
    assert second.startswith(f"no such job ({unknown})")


def test_purge_forgets_what_is_over_for_long_enough(store: SqliteStore) -> None:
    waiting, cancelled = taken_in(store), taken_in(store, cancelled=True)

    assert run("purge", *STORE) == "jobs purged: 0\n"
    assert run("purge", "--older-than", "0s", "--state", "done,failed", *STORE).endswith(" 0\n")
    assert run("purge", "--older-than", "0s", *STORE) == "jobs purged: 1\n"
    assert store.find(waiting, None).state == "queued"
    assert "the job expired" in str(refusal("retry", cancelled, *STORE))


def test_a_store_in_redis_is_opened_by_its_settings(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as redis:
        settings = JobsSettings(backend="celery", redis_url=redis.url)
        named = ("--set", "jobs.backend=celery", "--set", f"jobs.redis_url={redis.url}")
        with closing(open_store(settings)) as store:
            job_id = taken_in(store, cancelled=True)

            assert run("retry", job_id, *named) == f"{job_id} queued\n"
            store.cancel(job_id, None)
            assert run("purge", "--older-than", "0s", *named) == "jobs purged: 1\n"


@pytest.mark.parametrize("words", [("purge",), ("retry", "1" * 32)])
def test_a_store_that_cannot_be_used_is_exit_code_3(words: tuple[str, ...]) -> None:
    Path("state").mkdir()
    Path("state/jobs.sqlite3").write_bytes(b"no database" * 1000)

    error = refusal(*words, *STORE)

    assert error.exit_code == 3
    assert "(state)" in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("purge", "--older-than", "soon"), "no duration"),
        (("purge", "--state", "queued"), "not what a job that is over can be"),
        (("retry", "1" * 32), "there is no job store (state)"),
        (("retry", "1" * 32, "--set", "jobs.backend=off"), "there are no jobs (jobs.backend)"),
        (("purge", "--set", "jobs.colour=red"), "jobs.colour"),
    ],
)
def test_what_a_person_got_wrong_is_exit_code_2(words: tuple[str, ...], said: str) -> None:
    error = refusal(*words)

    assert error.exit_code == 2
    assert said in str(error)
    assert not Path("state").exists()
