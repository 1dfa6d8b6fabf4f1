"""Jobs over real HTTP: asked for twice, too many of them, another's, expired, cancelled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from inferctl.bench.exposition import having, read_metrics
from tests.e2e.service import START_TIMEOUT_S, Answer, Service
from tests.faults.guarded import NOBODY, Wire, bearer, make_key
from tests.faults.kit import write_kit

pytestmark = pytest.mark.e2e

JSON = {"Content-Type": "application/json"}
ITEM = {"inputs": {"x": [[1, 2, 3, 4]]}}
LARGE = ITEM | {"pad": "x" * 40_000}
# Rounds of the loop that take a while; of so many nobody sees the end.
SLOW = {"inputs": {"x": [[100_000]]}}
SLOW_ITEMS = 1000
MAX_JOBS, MAX_BYTES = 60, 65_536
# Long enough to ask for a result, short enough to wait for its end.
KEEP_S = 4.0


class Jobs:
    """A client of a service, on one connection."""

    def __init__(self, service: Service, key: str = "") -> None:
        self._wire, self._headers = Wire(service), bearer(key) if key else NOBODY

    def leave(self) -> None:
        self._wire.close()

    def ask(self, method: str, path: str) -> Answer:
        return self._wire.ask(method, path, self._headers)

    def submit(self, headers: Mapping[str, str] = NOBODY, **content: Any) -> Answer:
        body = json.dumps({"model": "echo"} | content).encode()
        return self._wire.ask("POST", "/jobs", JSON | self._headers | headers, body)

    def submitted(self, **content: Any) -> str:
        """Its path."""
        answer = self.submit(**content)
        assert answer.status == 202, answer.body
        return answer.headers["location"]

    def until(self, path: str, so: Callable[[Answer], bool]) -> Answer:
        """Ask until it is so."""
        give_up_s = time.monotonic() + START_TIMEOUT_S
        while not so(answer := self.ask("GET", path)):
            assert time.monotonic() < give_up_s, answer.body
        return answer

    def count(self, name: str, **labels: str) -> float:
        scrape = read_metrics(self.ask("GET", "/metrics").body.decode())
        return sum(having(scrape, name, labels))


def state_is(state: str) -> Callable[[Answer], bool]:
    return lambda answer: answer.json["state"] == state


def serving(folder: Path, *settings: str) -> Service:
    write_kit(folder / "models", "echo", "loop")
    (folder / "serve.toml").touch()
    flags = [part for setting in settings for part in ("--set", setting)]
    arguments = [str(folder / "models"), "--port", "0", "--set", "server.workers=2", *flags]
    return Service([*arguments, "--config", str(folder / "serve.toml")], folder)


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Jobs]]:
    """Of a service that takes jobs in, and does none; with either of its keys."""
    folder = tmp_path_factory.mktemp("kept")
    keys = {name: make_key(folder / "serve.toml", name) for name in ("mine", "theirs")}
    limits = f"jobs.max_jobs={MAX_JOBS}", f"jobs.max_bytes={MAX_BYTES}"
    with serving(folder, "jobs.run=false", *limits) as service, ExitStack() as stack:

        def connect(name: str) -> Jobs:
            jobs = Jobs(service, keys[name])
            stack.callback(jobs.leave)
            return jobs

        yield connect


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    """Of a service that does jobs, and soon forgets them."""
    folder = tmp_path_factory.mktemp("done")
    with serving(folder, f"jobs.keep_h={KEEP_S / 3600}") as service:
        jobs = Jobs(service)
        yield jobs
        jobs.leave()


@pytest.mark.row(139)
def test_fifty_that_ask_at_once_with_one_key_have_one_job(
    clients: Callable[[str], Jobs],
) -> None:
    askers = [clients("mine") for _ in range(50)]
    with ThreadPoolExecutor(50) as pool:
        once = {"Idempotency-Key": "once"}
        answers = [*pool.map(lambda one: one.submit(once, item=ITEM), askers)]
    assert {answer.status for answer in answers} == {202}
    (path,) = {answer.headers["location"] for answer in answers}
    replayed = sum("idempotency-replayed" in answer.headers for answer in answers)
    assert replayed == askers[0].count("inferctl_job_duplicates_total") == 49
    assert askers[0].count("inferctl_jobs_total", state="accepted") == 1
    assert askers[0].submit(once, item=LARGE).status == 422
    assert clients("theirs").submit(once, item=ITEM).headers["location"] != path


@pytest.mark.row(141)
def test_who_would_be_one_too_many_is_told_when_to_come_back(
    clients: Callable[[str], Jobs],
) -> None:
    jobs = clients("mine")
    answers = [jobs.submit(item=ITEM) for _ in range(MAX_JOBS + 1)]
    taken = [answer.headers["location"] for answer in answers if answer.status == 202]
    last = answers[-1]
    assert (last.status, last.json["code"]) == (429, "overloaded")
    assert int(last.headers["retry-after"]) >= 1
    assert jobs.ask("DELETE", taken.pop()).status == 200
    taken.append(jobs.submitted(item=ITEM))
    for path in taken:
        jobs.ask("DELETE", path)


@pytest.mark.row(141)
def test_who_would_be_too_much_is_told_when_to_come_back(clients: Callable[[str], Jobs]) -> None:
    jobs = clients("mine")
    first = jobs.submitted(item=LARGE)
    refused = jobs.submit(item=LARGE)
    assert (refused.status, int(refused.headers["retry-after"]) >= 1) == (429, True)
    assert jobs.ask("DELETE", first).status == 200
    jobs.ask("DELETE", jobs.submitted(item=LARGE))
    assert jobs.submit(items=[LARGE] * 2).status == 413  # it would never fit


@pytest.mark.row(142)
def test_ids_that_are_unknown_anothers_or_none_are_told_the_same(
    clients: Callable[[str], Jobs],
) -> None:
    mine, theirs = clients("mine"), clients("theirs")
    path = mine.submitted(item=ITEM)
    told = [theirs.ask("GET", one) for one in (path, f"/jobs/{'0' * 32}", "/jobs/%FF", "/jobs/1")]
    assert {answer.status for answer in told} == {404}
    assert len({(answer.json["detail"], answer.json.get("hint")) for answer in told}) == 1
    assert theirs.ask("DELETE", path).status == 404
    assert mine.ask("DELETE", path).json["state"] == "cancelled"


@pytest.mark.row(142)
def test_a_result_is_there_for_its_time_and_then_gone(client: Jobs) -> None:
    path = client.submitted(item=ITEM)
    client.until(path, state_is("done"))
    result = client.ask("GET", f"{path}/result")
    assert (result.status, result.json["outputs"]["y"]) == (200, [[1, 2, 3, 4]])
    client.until(path, lambda answer: answer.status == 410)
    assert client.ask("GET", f"{path}/result").status == 410


@pytest.mark.row(143)
def test_a_job_that_runs_is_cancelled_and_the_next_one_done(client: Jobs) -> None:
    path = client.submitted(model="loop", items=[SLOW] * SLOW_ITEMS)
    client.until(path, state_is("running"))
    cancelled = client.ask("DELETE", path)
    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
    assert cancelled.json["done_items"] < SLOW_ITEMS
    again = client.ask("DELETE", path)
    assert (again.status, again.json["state"]) == (200, "cancelled")
    client.until(client.submitted(item=ITEM), state_is("done"))
    assert client.ask("GET", path).json["state"] == "cancelled"


@pytest.mark.row(143)
def test_a_job_that_is_over_is_not_cancelled(client: Jobs) -> None:
    for item, state in ((ITEM, "done"), ({"x": 1}, "failed")):
        path = client.submitted(item=item)
        client.until(path, state_is(state))
        assert client.ask("DELETE", path).status == 409
        assert client.ask("GET", path).json["state"] == state


def test_of_many_items_each_has_a_line(client: Jobs) -> None:
    path = client.submitted(items=[ITEM, {"x": 1}, ITEM])
    client.until(path, state_is("done"))
    result = client.ask("GET", f"{path}/result")
    lines = [json.loads(line) for line in result.body.splitlines()]
    assert [(line["item"], line["status"]) for line in lines] == [(0, 200), (1, 422), (2, 200)]
    assert lines[1]["problem"]["code"] == "unprocessable"
