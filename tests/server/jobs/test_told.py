"""What is told of jobs."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import orjson
import pytest

from inferctl.jobs.job import STATES, Job, Page, Result
from inferctl.server.jobs.told import (
    GROWTH,
    MOST_IN_PAGE,
    JobList,
    JobStatus,
    ResultLine,
    etag_of,
    line_of,
    list_of,
    next_page,
    poll_advice,
    poll_after_s,
    status_of,
)

JOB = Job(
    id="a" * 32,
    model="mood",
    version="",
    key="app",
    state="running",
    is_bulk=True,
    items=8,
    done_items=2,
    failed_items=1,
    attempts=1,
    revision=7,
    created_s=1_764_000_000.25,
    started_s=1_764_000_001.0,
)


def told(job: Job) -> Any:
    return orjson.loads(status_of(job).written())


def test_a_status_says_all_but_whose_it_is() -> None:
    assert told(JOB) == {
        "id": "a" * 32,
        "state": "running",
        "model": "mood",
        "version": None,
        "items": 8,
        "done_items": 2,
        "failed_items": 1,
        "attempts": 1,
        "created_at": "2025-11-24T16:00:00.250+00:00",
        "started_at": "2025-11-24T16:00:01.000+00:00",
        "ended_at": None,
        "expires_at": None,
        "progress": 0.25,
        "result": f"/jobs/{'a' * 32}/result",
    }


def test_a_failed_one_says_why() -> None:
    problem = {"status": 422, "code": "unprocessable"}
    failed = replace(JOB, state="failed", version="3", ended_s=0.0, expires_s=1.0, problem=problem)
    status = JobStatus.model_validate(told(failed), strict=True)
    assert (status.problem, status.version) == (problem, "3")
    assert status.expires_at == "1970-01-01T00:00:01.000+00:00"


def test_a_list_is_as_its_schema() -> None:
    page = JobList.model_validate_json(list_of(Page([JOB, JOB], '"7')), strict=True)
    assert page == JobList(jobs=[status_of(JOB)] * 2, next='"7')
    assert orjson.loads(list_of(Page([]))) == {"jobs": [], "next": None}


@pytest.mark.parametrize(("age_s", "after_s"), [(0.0, 0.1), (20.0, 2.0), (9999.0, 30.0)])
def test_the_older_a_job_is_the_later_a_poll_is_of_use(age_s: float, after_s: float) -> None:
    job = replace(JOB, created_s=time.time() - age_s)
    assert poll_after_s(job) == pytest.approx(after_s, rel=0.01)
    assert b"retry-after: %d\r\n" % -(-after_s // 1) in poll_advice(job)


def test_who_asks_about_one_that_is_over_need_not_come_again() -> None:
    advised = [state for state in STATES if poll_advice(replace(JOB, state=state))]
    assert advised == ["queued", "running"]


def test_the_tag_follows_the_revision() -> None:
    assert etag_of(JOB) == '"7"'


def test_a_line_is_a_result_or_a_problem() -> None:
    lines = line_of(Result(0, 200, b'{"a":1}')) + line_of(Result(3, 422, b'{"code":"x"}'))
    first, second = map(ResultLine.model_validate_json, lines.splitlines())
    assert first == ResultLine(item=0, status=200, result={"a": 1})
    assert second == ResultLine(item=3, status=422, problem={"code": "x"})


@pytest.mark.parametrize(
    ("before", "largest_bytes", "results"),
    [
        (MOST_IN_PAGE, 10, MOST_IN_PAGE),
        (MOST_IN_PAGE, 100_000, 10),
        (MOST_IN_PAGE, 5_000_000, 1),
        (1, 10, GROWTH),
    ],
)
def test_a_page_is_about_a_megabyte(before: int, largest_bytes: int, results: int) -> None:
    assert next_page(before, largest_bytes) == results
