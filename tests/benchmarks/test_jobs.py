"""The benchmark of jobs ends, whatever becomes of them."""

from __future__ import annotations

import os

import pytest

from benchmarks import jobs
from benchmarks.servers import Running
from benchmarks.tree import ProcessTree
from inferctl.errors import BenchError
from tests.client.scripted import Answer, scripted

LATER = Answer(429, headers={"retry-after-ms": "3600000"})


def running(url: str) -> Running:
    return Running(f"{url}/predict", ProcessTree(os.getpid()))


def test_a_job_that_is_refused_ends_the_run() -> None:
    with scripted() as server, pytest.raises(BenchError, match="a job was answered with 200"):
        jobs.do_jobs(running(server.url), [b"{}"], 1)


def test_who_is_told_to_come_back_later_waits_no_longer_than_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "done_jobs", lambda server: 0.0)
    monkeypatch.setattr(jobs, "STUCK_S", 0.0)
    with scripted(LATER) as server, pytest.raises(BenchError, match="1 jobs are not done"):
        jobs.do_jobs(running(server.url), [b"{}"], 1)
    assert len(server.received) <= 1
