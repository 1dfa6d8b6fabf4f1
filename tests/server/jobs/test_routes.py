"""Jobs over HTTP: how they are taken in, told of, fetched and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import orjson
import pytest

from inferctl.deferral import JobsSettings
from inferctl.jobs.job import Page, Result, State
from inferctl.jobs.store import Store, StoreUnavailable
from inferctl.server.asgi import Message
from inferctl.server.jobs.asked import LINES
from inferctl.server.jobs.told import FIRST_PAGE, PAGE_BYTES, JobList, JobStatus, ResultLine
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.jobs.made import end
from tests.tasks.tinybundles import detector, numbers

from ..asgi import Answer, ask, make_scope, messages, post_json
from ..keyed import ADMIN_KEY, PREDICT_KEY, bearer, key_settings, keyed
from ..loop import look_once, until
from .taking import DONE, Taking, taking

ITEM = {"inputs": [1, 2, 3, 4]}
LINE = orjson.dumps(ITEM) + b"\n"
AS_LINES = {"Content-Type": LINES}
PROBLEM = b'{"status":422,"code":"unprocessable","detail":"no"}'
UNKNOWN = f"/jobs/{'0' * 32}"


def keys(**quotas: Any) -> ServerSettings:
    """Two that predict."""
    mine, theirs = (key_settings(key, **quotas) for key in (PREDICT_KEY, ADMIN_KEY))
    return ServerSettings(api_keys={"app": mine, "other": theirs})


async def submit(taken: Taking, items: int = 0, **headers: str) -> Answer:
    """One item, or so many."""
    content = {"items": [ITEM] * items} if items else {"item": ITEM}
    return await post_json(taken.app, content, "/jobs", headers=headers)


async def submitted(taken: Taking, items: int = 0, **headers: str) -> str:
    """Its path."""
    answer = await submit(taken, items, **headers)
    assert answer.status == 202, answer.body
    return answer.headers["location"]


def is_refused(answer: Answer, status: int, what: str = "") -> bool:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["server-timing"].startswith("total;dur=")
    assert len(answer.body) <= 512
    assert what in answer.json["detail"]
    return answer.status == answer.json["status"] == status


async def test_a_job_is_kept_and_told_of(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        answer = await submit(taken)
        assert answer.status == 202
        status = JobStatus.model_validate_json(answer.body, strict=True)
        assert (status.state, status.model, status.items) == ("queued", "sums", 1)
        assert answer.headers["location"] == f"/jobs/{status.id}"
        assert (answer.headers["retry-after"], answer.headers["x-request-id"] != "") == ("1", True)
        assert len(taken.woken) == taken.total("inferctl_jobs_total", "accepted") == 1
        told = await taken.get(f"/jobs/{status.id}")
        assert (told.status, told.json) == (200, answer.json)
        (item,) = await taken.items()
        assert item.body == orjson.dumps(ITEM)


async def test_a_poll_that_knows_it_all_hears_nothing_more(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        path = await submitted(taken)
        tag = (await taken.get(path)).headers["etag"]
        same = await taken.get(path, headers={"If-None-Match": f'"x", W/{tag}'})
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
        assert same.headers["retry-after"] == "1"
        claim = await taken.begin()
        changed = await taken.get(path, headers={"If-None-Match": tag})
        assert (changed.status, changed.json["state"]) == (200, "running")
        await taken.finish(claim, Result(0, 200, DONE))
        done = await taken.get(path)
        assert "retry-after" not in done.headers
        assert (done.json["state"], done.json["progress"]) == ("done", 1.0)


async def test_lines_and_raw_bodies_are_items_too(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers(), detector()) as taken:
        query = "model=sums&version=3"
        bulk = await ask(taken.app, "/jobs", LINE * 3, query=query, headers=AS_LINES)
        assert (bulk.json["items"], bulk.json["version"]) == (3, "3")
        claim = await taken.begin()
        assert (claim.content_type, claim.is_bulk, claim.items) == (JSON, True, 3)
        headers = {"Content-Type": "image/png"}
        query = "model=shapes&max_detections=3"
        raw = await ask(taken.app, "/jobs", b"\x89PNG", query=query, headers=headers)
        assert (raw.status, raw.json["model"], raw.json["version"]) == (202, "shapes", None)
        claim = await taken.begin()
        assert (claim.content_type, claim.query) == ("image/png", "max_detections=3")
        (item,) = await taken.desk.do(lambda store: store.items(claim, 9, 99))
        assert (item.body, claim.is_bulk) == (b"\x89PNG", False)


async def test_a_large_body_is_read_by_a_thread(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        body = LINE * 5000
        bulk = await ask(taken.app, "/jobs", [body[:99], body[99:]], headers=AS_LINES)
        assert (bulk.status, bulk.json["items"]) == (202, 5000)
        bad = await ask(taken.app, "/jobs", body + b"[]", headers=AS_LINES)
        assert is_refused(bad, 400, "line 5001: this is not a JSON object")


@pytest.mark.parametrize(
    ("status", "body", "content_type", "query", "what"),
    [
        (400, b"{", JSON, "", "not valid JSON"),
        (404, b'{"item":{},"model":"none"}', JSON, "", "no such model"),
        (404, b'{"item":{},"model":"sums","version":9}', JSON, "", "this version is not served"),
        (404, LINE, LINES, "model=none", "no such model"),
        (404, b"x", "image/png", "model=sums&version=9", "this version is not served"),
        (413, LINE * 4, LINES, "", "more than 3 items"),
        (413, b" " * 1025, JSON, "", "larger than 1024 bytes"),
        (415, b"x", "image/png", "", "this content type is not taken"),
        (415, b"x", "", "", "this content type is not taken"),
        (415, LINE, f"{LINES}; charset=latin-1", "", "this charset is not taken"),
        (422, b"{}", JSON, "", "either item or items"),
        (422, b"{}", JSON, "model=sums", "model and version go into the JSON"),
        (422, LINE, LINES, "top_k=3", "options go into each item"),
        (422, b"\n", LINES, "", "there is no item"),
    ],
)
async def test_what_is_no_job_is_refused_at_once(
    tmp_path: Path, status: int, body: bytes, content_type: str, query: str, what: str
) -> None:
    server = ServerSettings(max_body_bytes=1024)
    async with taking(tmp_path, numbers(), jobs=JobsSettings(max_items=3), server=server) as taken:
        headers = {"Content-Type": content_type}
        answer = await ask(taken.app, "/jobs", body, query=query, headers=headers)
        assert is_refused(answer, status, what)
        assert (await taken.get("/jobs")).json == {"jobs": [], "next": None}
        assert taken.woken == []


async def test_of_several_models_none_is_guessed(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers(), detector()) as taken:
        assert is_refused(await submit(taken), 404, "no model is marked as default")
        for content_type, status in (
            (LINES, 404),
            ("image/png", 404),
            ("application/x-www-form-urlencoded", 415),
        ):
            answer = await ask(taken.app, "/jobs", LINE, headers={"Content-Type": content_type})
            assert answer.status == status


@pytest.mark.row(139)
async def test_the_same_key_is_the_same_job(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        first = await submit(taken, **{"Idempotency-Key": '"once"'})
        assert "idempotency-replayed" not in first.headers
        again = await submit(taken, **{"Idempotency-Key": "once"})
        assert (again.status, again.json) == (202, first.json)
        assert again.headers["idempotency-replayed"] == "true"
        other = await submit(taken, 1, **{"Idempotency-Key": "once"})
        assert is_refused(other, 422, "used for another request")
        assert is_refused(await submit(taken, **{"Idempotency-Key": "a b"}), 400)
        assert len(taken.woken) == taken.total("inferctl_job_duplicates_total") == 1
        assert (await submit(taken)).json["id"] != first.json["id"]


async def test_a_result_is_what_a_predict_request_is_answered(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        path = await submitted(taken)
        for begin in (False, True):
            claim = await taken.begin() if begin else None
            early = await taken.get(f"{path}/result")
            assert is_refused(early, 409, "the job is not done yet")
            assert int(early.headers["retry-after"]) >= 1
        assert claim is not None
        await taken.finish(claim, Result(0, 200, DONE))
        result = await taken.get(f"{path}/result")
        assert (result.status, result.body) == (200, DONE)
        assert result.headers["content-type"] == JSON
        assert result.headers["x-job-state"] == "done"


async def test_the_result_of_a_failed_one_is_its_problem(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        path = await submitted(taken)
        await taken.finish(await taken.begin(), Result(0, 422, PROBLEM))
        result = await taken.get(f"{path}/result")
        assert (result.status, result.body) == (422, PROBLEM)
        assert result.headers["content-type"] == "application/problem+json"
        assert result.headers["x-job-state"] == "failed"
        counted = taken.total("inferctl_requests_total", "/jobs/{id}/result unprocessable")
        assert counted == 1


async def test_a_job_that_could_not_be_done_says_why_in_place_of_its_result(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        path = await submitted(taken)
        claim, problem = await taken.begin(), {"status": 500, "code": "attempts_exhausted"}
        assert await taken.desk.do(lambda store: end(store, claim, "failed", problem))
        result = await taken.get(f"{path}/result")
        assert (result.status, result.json) == (500, problem)
        assert (await taken.get(path)).json["problem"] == problem


def lines(answer: Answer) -> list[ResultLine]:
    assert answer.headers["content-type"] == LINES
    return [ResultLine.model_validate_json(line) for line in answer.body.splitlines()]


async def test_results_of_many_items_are_lines_while_it_goes_on_too(tmp_path: Path) -> None:
    count = 3 * FIRST_PAGE
    async with taking(tmp_path, numbers()) as taken:
        path = await submitted(taken, count)
        assert lines(await taken.get(f"{path}/result")) == []
        claim = await taken.begin()
        await taken.record(claim, range(2, count - 1))
        some = await taken.get(f"{path}/result")
        assert some.headers["x-job-state"] == "running"
        assert [line.item for line in lines(some)] == [*range(2, count - 1)]
        await taken.finish(claim, Result(0, 422, PROBLEM), Result(1, 200, DONE))
        rest = await taken.get(f"{path}/result", query="first=1")
        assert [line.item for line in lines(rest)] == [*range(1, count - 1)]
        whole = await taken.get(f"{path}/result")
        first, second = lines(whole)[:2]
        assert first == ResultLine(item=0, status=422, problem=orjson.loads(PROBLEM))
        assert second == ResultLine(item=1, status=200, result=orjson.loads(DONE))
        assert lines(await taken.get(f"{path}/result", query=f"first={count}")) == []


def pages_read(taken: Taking) -> list[int]:
    """How many results the store is asked for, each time."""
    store = taken.desk._store
    assert store is not None
    limits, results = [], store.results

    def noted(job_id: str, key: str | None, first: int, limit: int) -> list[Result]:
        limits.append(limit)
        return results(job_id, key, first, limit)

    store.results = noted  # type: ignore[method-assign] # it is looked at
    return limits


async def test_results_are_read_of_the_store_as_they_are_taken(tmp_path: Path) -> None:
    """Who takes nothing more costs nothing more, and large results come in smaller pages."""
    count, body = 32, b'{"a":"%b"}' % (b"x" * (PAGE_BYTES // 8))
    async with taking(tmp_path, numbers()) as taken:
        path = await submitted(taken, count)
        claim = await taken.begin()
        await taken.record(claim, range(count), body)
        took: asyncio.Queue[bytes] = asyncio.Queue(maxsize=2)
        read = pages_read(taken)

        async def send(message: Message) -> None:
            if message.get("body"):
                await took.put(message["body"])

        asked = make_scope(f"{path}/result", method="GET")
        answering = asyncio.ensure_future(taken.app(asked, messages(), send))
        await until(lambda: took.full() and len(read) == 3)  # one waits to be sent
        await look_once()
        assert read == [FIRST_PAGE, 7, 7]
        pages = [(await took.get()).count(b"\n") for _ in range(5)]
        await answering
        assert pages == [FIRST_PAGE, 7, 7, 7, 7]


async def test_a_large_result_among_small_ones_makes_every_later_page_small(
    tmp_path: Path,
) -> None:
    large = FIRST_PAGE - 1
    async with taking(tmp_path, numbers()) as taken:
        path = await submitted(taken, 20)
        claim = await taken.begin()
        await taken.record(claim, [*range(large), *range(FIRST_PAGE, 20)])
        await taken.record(claim, [large], b'{"a":"%b"}' % (b"x" * (PAGE_BYTES // 3)))
        read = pages_read(taken)
        assert len(lines(await taken.get(f"{path}/result"))) == 20
        assert read == [FIRST_PAGE, *[2] * 9]


async def test_lines_that_cannot_be_ended_are_no_answer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    count = 2 * FIRST_PAGE
    async with taking(tmp_path, numbers()) as taken:
        path = await submitted(taken, count)
        await taken.record(await taken.begin(), range(count))
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)
            if message.get("body"):
                store = taken.desk._store
                assert store is not None
                store.results = out_of_order  # type: ignore[method-assign] # the disk is gone

        await taken.app(make_scope(f"{path}/result", method="GET"), messages(), send)
        assert sent[0]["status"] == 200
        assert all(message["more_body"] for message in sent[1:])
        assert taken.total("inferctl_job_store_errors_total") == 1
    assert "Traceback" not in capfd.readouterr().err


def out_of_order(*_: object) -> list[Result]:
    raise StoreUnavailable("gone")


async def test_the_list_has_the_newest_first_and_the_rest_behind(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        paths = [await submitted(taken) for _ in range(5)]
        await taken.finish(await taken.begin(), Result(0, 200, DONE))

        async def ids(query: str) -> tuple[list[str], str | None]:
            answer = await taken.get("/jobs", query=query)
            told = JobList.model_validate_json(answer.body, strict=True)
            return [f"/jobs/{job.id}" for job in told.jobs], told.next

        first, after = await ids("limit=3")
        assert first == paths[:1:-1]
        assert await ids(f"limit=3&after={after}") == (paths[1::-1], None)
        assert await ids("state=done,failed") == ([paths[0]], None)
        assert await ids("state=queued") == (paths[:0:-1], None)


async def test_a_state_that_is_named_again_is_looked_for_once(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        store, asked = await taken.desk.do(lambda store: store), []
        page = store.page

        def noted(key: str | None, states: Collection[State], limit: int, after: str) -> Page:
            asked.append(states)
            return page(key, states, limit, after)

        store.page = noted  # type: ignore[method-assign] # it is looked at
        await taken.get("/jobs", query=f"state=done,failed{',done' * 1000}")
        assert asked == [["done", "failed"]]


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/jobs", "limit=0", 422),
        ("/jobs", "limit=1001", 422),
        ("/jobs", "limit=9" + "9" * 5000, 422),
        ("/jobs", "limit=x", 422),
        ("/jobs", "limit=", 422),
        ("/jobs", "state=", 422),
        ("/jobs", "state=queued,sleeping", 422),
        ("/jobs", "after=x", 400),
        (f"{UNKNOWN}/result", "first=-1", 422),
        (f"{UNKNOWN}/result", "first=%C2%B2", 422),
    ],
)
async def test_a_parameter_out_of_range_is_refused(
    tmp_path: Path, path: str, query: str, status: int
) -> None:
    async with taking(tmp_path, numbers()) as taken:
        assert is_refused(await taken.get(path, query=query), status)


@pytest.mark.row(143)
async def test_what_waits_or_is_being_done_is_cancelled_once(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        running, queued = [await submitted(taken) for _ in range(2)]
        claim = await taken.begin()
        for path in (running, queued):
            first, second = await taken.delete(path), await taken.delete(path)
            assert (first.status, first.json["state"]) == (200, "cancelled")
            assert (second.status, second.json) == (200, first.json)
            assert "retry-after" not in first.headers
            assert is_refused(await taken.get(f"{path}/result"), 409, "was cancelled")
        assert taken.total("inferctl_jobs_total", "cancelled") == 2
        assert not await taken.desk.do(lambda store: end(store, claim, "done"))


@pytest.mark.row(143)
async def test_what_is_over_is_not_cancelled(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        for status, body in ((200, DONE), (422, PROBLEM)):
            path = await submitted(taken)
            await taken.finish(await taken.begin(), Result(0, status, body))
            answer = await taken.delete(path)
            assert is_refused(answer, 409)
            assert "retry-after" not in answer.headers
            assert (await taken.get(f"{path}/result")).body == body
        assert taken.total("inferctl_jobs_total", "cancelled") == 0


@pytest.mark.row(142)
async def test_another_keys_job_is_none(tmp_path: Path) -> None:
    mine, theirs = ({"Host": "here"} | bearer(key) for key in (PREDICT_KEY, ADMIN_KEY))
    async with taking(tmp_path, numbers(), server=keys()) as taken:
        path = await submitted(taken, **mine, **{"Idempotency-Key": "x"})
        assert (await taken.get(path, headers=mine)).status == 200
        told = []
        for other in (path, UNKNOWN, "/jobs/none", f"/jobs/{'A' * 32}", f"/jobs/{'f' * 4000}"):
            told += [
                await taken.get(other, headers=theirs),
                await taken.get(f"{other}/result", headers=theirs),
                await taken.delete(other, headers=theirs),
            ]
        assert all(is_refused(answer, 404, "no such job") for answer in told)
        assert len({answer.json["hint"] for answer in told}) == 1
        assert (await taken.get("/jobs", headers=theirs)).json["jobs"] == []
        assert await submitted(taken, **theirs, **{"Idempotency-Key": "x"}) != path
        assert (await taken.get(path, headers=mine)).json["state"] == "queued"


@pytest.mark.row(142)
async def test_what_expired_is_gone(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers(), jobs=JobsSettings(keep_h=24)) as taken:
        path = await submitted(taken)
        await taken.finish(await taken.begin(), Result(0, 200, DONE))
        assert (await taken.get(f"{path}/result")).status == 200
        taken.now_s += 24 * 3600 + 1
        for asked in (path, f"{path}/result"):
            assert is_refused(await taken.get(asked), 410, "expired")
        assert is_refused(await taken.delete(path), 410)
        assert taken.total("inferctl_requests_total", "/jobs/{id} gone") == 2


def is_kept_by_none(answer: Answer) -> bool:
    assert answer.headers["vary"] == "authorization, x-api-key"
    return answer.headers["cache-control"] == "no-store"


async def test_what_is_told_of_jobs_is_in_no_cache(tmp_path: Path) -> None:
    mine = {"Host": "here"} | bearer(PREDICT_KEY)
    async with taking(tmp_path, numbers(), server=keys()) as taken:
        made = await submit(taken, **mine)
        path = made.headers["location"]
        status = await taken.get(path, headers=mine)
        tag = {"If-None-Match": status.headers["etag"]}
        for told in (status, await taken.get(path, headers=mine | tag)):
            assert not is_kept_by_none(told)
            assert told.headers["cache-control"] == "private, no-cache"
        early = await taken.get(f"{path}/result", headers=mine)
        await taken.finish(await taken.begin(), Result(0, 200, DONE))
        assert is_kept_by_none(made)
        assert is_kept_by_none(early)
        assert is_kept_by_none(await taken.get(f"{path}/result", headers=mine))
        assert is_kept_by_none(await taken.get("/jobs", headers=mine))
        assert is_kept_by_none(await taken.get(UNKNOWN, headers=mine))
        assert is_kept_by_none(await taken.get(path, headers={"Host": "here"}))
        taken.now_s += 365 * 24 * 3600
        gone = await taken.get(path, headers=mine)
        assert (gone.status, is_kept_by_none(gone)) == (410, True)
        other = await taken.get("/models", headers=mine)
        assert "vary" not in other.headers


async def test_who_may_not_predict_submits_nothing(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers(), server=keyed()) as taken:
        operator = {"Host": "here"} | bearer(ADMIN_KEY)
        assert is_refused(await submit(taken, **operator), 403, "lacks the scope predict")
        assert is_refused(await submit(taken, Host="here"), 401)
        assert is_refused(await taken.get("/jobs", headers={"Host": "here"}), 401)
        assert (await taken.get("/jobs", headers=operator)).status == 200
        elsewhere = {"Host": "here", "Origin": "http://elsewhere"} | bearer(PREDICT_KEY)
        assert is_refused(await submit(taken, **elsewhere), 403, "another origin")


async def test_a_submission_is_a_request_of_its_quota(tmp_path: Path) -> None:
    mine = {"Host": "here"} | bearer(PREDICT_KEY)
    async with taking(tmp_path, numbers(), server=keys(requests_per_s=1)) as taken:
        assert (await submit(taken, **mine)).status == 202
        refused = await submit(taken, **mine)
        assert is_refused(refused, 429, "times a second")
        assert refused.headers["retry-after"] == "1"
    async with taking(tmp_path, numbers(), server=keys(max_concurrent=1)) as taken:
        assert {(await submit(taken, **mine)).status for _ in range(3)} == {202}


@pytest.mark.row(141)
@pytest.mark.parametrize(
    "jobs",
    [JobsSettings(max_jobs=3), JobsSettings(max_bytes=1024)],
    ids=["by count", "by bytes"],
)
async def test_a_full_queue_says_when_to_come_back(tmp_path: Path, jobs: JobsSettings) -> None:
    async with taking(tmp_path, numbers(), jobs=jobs) as taken:
        item = {"inputs": [1, 2, 3, 4], "pad": "x" * 300}
        statuses = []
        for _ in range(4):
            answer = await post_json(taken.app, {"item": item}, "/jobs")
            statuses.append(answer.status)
        assert statuses == [202, 202, 202, 429]
        assert is_refused(answer, 429, "too many jobs wait")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert taken.total("inferctl_shed_total", "jobs") == 1
        assert len(taken.woken) == 3


async def test_a_service_that_ends_takes_no_jobs_and_tells_of_those_it_has(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        path = await submitted(taken)
        taken.worker.service_ends()
        assert is_refused(await submit(taken), 503, "the service ends")
        assert (await taken.get(path)).status == 200


async def test_without_its_store_only_jobs_fail(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:

        def lost() -> Store:
            raise StoreUnavailable("the job store is damaged", hint="restart the service")

        taken.desk._open = lost
        for answer in (await submit(taken), await taken.get("/jobs"), await taken.get(UNKNOWN)):
            assert is_refused(answer, 503, "the job store is damaged")
            assert "retry-after" in answer.headers
        assert (await post_json(taken.app, ITEM)).status == 200


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/jobs", "GET, POST"), (UNKNOWN, "DELETE, GET"), (f"{UNKNOWN}/result", "GET")],
)
async def test_other_methods_are_not_taken(tmp_path: Path, path: str, allowed: str) -> None:
    async with taking(tmp_path, numbers()) as taken:
        refused = await ask(taken.app, path, method="PUT")
        assert is_refused(refused, 405)
        assert refused.headers["allow"] == allowed
        assert is_refused(await taken.get(f"{path}/"), 404)
