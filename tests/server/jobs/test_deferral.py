"""A predict request that prefers to be a job; and bodies of submissions that go wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from threading import Event

import orjson
import pytest

from inferctl.server.call import SWALLOWED_BYTES
from inferctl.server.jobs import submissions
from inferctl.server.jobs.asked import Asked, asked_in_json
from inferctl.server.prediction import SMALL_BODY_BYTES
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON, Body
from tests.tasks.pictures import encoded, plain
from tests.tasks.tinybundles import detector, numbers

from ..asgi import DISCONNECT, ask, messages, part, post_json
from ..doors import Door
from ..loop import look_once, until
from ..wire import LAST_CHUNK, chunks, head, packet, serving
from ..wiring import working
from .taking import taking

ROW = {"inputs": [1, 2, 3, 4]}
BODY = orjson.dumps(ROW)
ASYNC = {"Prefer": "wait=10, respond-async"}
AS_JSON = {"Content-Type": JSON}


async def test_a_prediction_may_be_asked_for_as_a_job(tmp_path: Path, door: Door) -> None:
    async with taking(tmp_path, numbers()) as taken, door(taken.worker) as way:
        for path in ("/predict", "/models/sums/predict"):
            answer = await way.post_json(ROW, path, headers=ASYNC | {"X-Request-ID": "mine"})
            assert (answer.status, answer.json["state"]) == (202, "queued")
            assert answer.headers["preference-applied"] == "respond-async"
            assert answer.headers["location"] == f"/jobs/{answer.json['id']}"
            assert answer.headers["x-request-id"] == "mine"
            assert answer.headers["server-timing"].startswith("total;dur=")
            (item,) = await taken.items()
            assert item.body == BODY
        assert taken.worker.engine.submitted.empty()
        assert taken.total("inferctl_requests_total", "/jobs ok") == 2
        (*_, line) = taken.worker.logged()
        assert (line["route"], line["model"], line["status"]) == ("/jobs", "sums", 202)


async def test_a_known_head_that_prefers_is_a_job_each_time(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken, serving(taken.worker) as service:
        client = await service.connect()
        for _ in range(2):
            for headers, status in (({}, 200), (ASYNC, 202)):
                for _ in range(2):
                    answer = await client.ask(packet(body=BODY, headers=AS_JSON | headers))
                    assert answer.status == status
        assert len(taken.worker.predict.known_heads) == 1
        assert len(taken.woken) == 4


async def test_of_a_raw_body_its_options_are_kept(tmp_path: Path, door: Door) -> None:
    async with taking(tmp_path, detector()) as taken, door(taken.worker) as way:
        image, headers = encoded(plain(), "PNG"), ASYNC | {"Content-Type": "image/png"}
        query = "version=3&max_detections=3"
        answer = await way.ask("/predict", image, headers=headers, query=query)
        assert (answer.status, answer.json["version"]) == (202, "3")
        claim = await taken.begin()
        assert (claim.content_type, claim.query) == ("image/png", "max_detections=3")


async def test_many_items_of_one_request_are_one_job_with_its_answer(tmp_path: Path) -> None:
    async with taking(tmp_path, numbers()) as taken:
        content = {"items": [ROW, ROW]}
        answer = await post_json(taken.app, content, headers=ASYNC)
        assert (answer.status, answer.json["items"]) == (202, 1)
        (item,) = await taken.items()
        assert orjson.loads(item.body) == content


async def test_what_a_predict_request_may_not_be_a_job_may_not(tmp_path: Path, door: Door) -> None:
    async with taking(tmp_path, numbers()) as taken, door(taken.worker) as way:
        refused = [
            (400, await way.ask(body=b"{", headers=AS_JSON | ASYNC)),
            (404, await way.post_json(ROW, query="version=9", headers=ASYNC)),
            (404, await way.post_json(ROW, "/models/none/predict", headers=ASYNC)),
            (415, await way.ask(body=BODY, headers=ASYNC)),
            (422, await way.post_json(ROW, query="top_k=1", headers=ASYNC)),
        ]
        for status, answer in refused:
            assert (answer.status, answer.json["status"]) == (status, status)
            assert "preference-applied" not in answer.headers
        assert taken.woken == []


async def test_of_several_idempotency_keys_none_is_chosen(tmp_path: Path, door: Door) -> None:
    twice = {"Idempotency-Key": "a", "idempotency-key": "a"}
    async with taking(tmp_path, numbers()) as taken, door(taken.worker) as way:
        for answer in (
            await way.post_json({"item": ROW}, "/jobs", headers=twice),
            await way.post_json(ROW, headers=ASYNC | twice),
        ):
            assert (answer.status, answer.json["status"]) == (400, 400)
            assert "several idempotency-key" in answer.json["detail"]
        assert taken.woken == []
        assert (await way.post_json(ROW, headers=twice)).status == 200


async def test_a_preference_is_none_of_what_is_not_posted(tmp_path: Path, door: Door) -> None:
    async with taking(tmp_path, numbers()) as taken, door(taken.worker) as way:
        answer = await way.ask("/predict", method="PUT", headers=ASYNC)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


async def test_where_it_cannot_be_the_preference_is_ignored(tmp_path: Path, door: Door) -> None:
    async with taking(tmp_path, numbers()) as taken, door(taken.worker) as way:
        instances = {"instances": [[1, 2, 3, 4]]}
        answer = await way.post_json(instances, "/v1/models/sums:predict", headers=ASYNC)
        assert (answer.status, "preference-applied" in answer.headers) == (200, False)
        answer = await way.post_json(ROW, headers={"Prefer": "return=minimal"})
        assert answer.status == 200
    (tmp_path / "off").mkdir()
    async with working(tmp_path / "off", numbers()) as worker, door(worker) as way:
        answer = await way.post_json(ROW, headers=ASYNC)
        assert (answer.status, "preference-applied" in answer.headers) == (200, False)
        assert (await way.post_json({"item": ROW}, "/jobs")).status == 404


@pytest.mark.parametrize("path", ["/jobs", "/predict"])
async def test_a_client_that_leaves_its_body_half_leaves_no_job(tmp_path: Path, path: str) -> None:
    async with taking(tmp_path, numbers()) as taken:
        receive = messages(part(b'{"item"', more=True), DISCONNECT)
        answer = await ask(taken.app, path, receive=receive, headers=AS_JSON | ASYNC)
        assert answer.status == 499
        assert (await taken.get("/jobs")).json["jobs"] == []


@pytest.mark.parametrize("path", ["/jobs", "/predict"])
async def test_a_body_that_is_late_is_waited_for_no_more(tmp_path: Path, path: str) -> None:
    async with taking(tmp_path, numbers()) as taken, serving(taken.worker) as service:
        client = await service.connect()
        lines = {"Host": "here", "Content-Length": "99", **AS_JSON, **ASYNC}
        await client.send(head(path, lines) + b'{"item"')
        await until(lambda: service.server.server_state.tasks)
        await look_once()
        service.only_connection._body_begun_s = float("-inf")
        service.only_connection.body_is_late()
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert await client.is_closed()
        assert (await taken.get("/jobs")).json["jobs"] == []


async def test_a_body_that_is_too_large_is_not_received(tmp_path: Path) -> None:
    server = ServerSettings(max_body_bytes=1024)
    async with (
        taking(tmp_path, numbers(), server=server) as taken,
        serving(taken.worker) as service,
    ):
        for path in ("/jobs", "/predict"):
            client = await service.connect()
            lines = {"Host": "here", **AS_JSON, **ASYNC}
            announced = {"Content-Length": str(SWALLOWED_BYTES + 1)}
            assert await client.is_refused(head(path, lines | announced), 413)
            client = await service.connect()
            whole = chunks(*[b" " * 512] * 3) + LAST_CHUNK
            chunked = head(path, lines | {"Transfer-Encoding": "chunked"})
            assert (await client.ask(chunked + whole)).status == 413


async def test_bodies_take_no_more_memory_than_a_few_of_the_largest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submissions, "MOST_BODIES", 1)
    server = ServerSettings(max_body_bytes=1024)
    async with (
        taking(tmp_path, numbers(), server=server) as taken,
        serving(taken.worker) as service,
    ):
        jobs, slow = taken.app._jobs, await service.connect()
        assert jobs is not None
        lines = {"Host": "here", "Content-Length": "1024", **AS_JSON}
        await slow.send(head("/jobs", lines) + b" " * 900)
        await until(lambda: jobs._held_bytes == 900)
        content = b'{"item":%b}' % BODY
        refused = await service.ask("/jobs", content.ljust(200), headers=AS_JSON)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert (await service.ask("/jobs", content, headers=AS_JSON)).status == 202
        assert (await slow.ask(content.rjust(124))).status == 202
        assert jobs._held_bytes == 0


async def test_one_large_body_is_read_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = (b'{"item":%b}' % BODY).ljust(SMALL_BODY_BYTES + 1)
    reading, may_go_on = [], Event()

    def read(body: Body, max_items: int) -> Asked:
        reading.append(body)
        assert may_go_on.wait(10)
        return asked_in_json(body, max_items)

    monkeypatch.setattr(submissions, "asked_in_json", read)
    async with taking(tmp_path, numbers()) as taken:
        jobs = taken.app._jobs
        assert jobs is not None
        asks = [ask(taken.app, "/jobs", body, headers=AS_JSON) for _ in range(3)]
        answers = asyncio.gather(*asks)
        await until(lambda: reading and jobs._held_bytes == 3 * len(body))
        await look_once()
        assert len(reading) == 1
        may_go_on.set()
        assert [answer.status for answer in await answers] == [202] * 3
        assert len(reading) == 3


async def test_near_the_limit_of_memory_large_bodies_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with taking(tmp_path, numbers()) as taken:
        monkeypatch.setattr(taken.worker.work, "memory_is_short", lambda: True)
        for size, status in ((100, 202), (100_000, 429)):
            headers = AS_JSON | {"Content-Length": str(size)}
            body = b'{"item":%b}' % BODY
            assert (
                await ask(taken.app, "/jobs", body.ljust(size), headers=headers)
            ).status == status


async def test_the_document_tells_of_jobs_where_there_are_any(tmp_path: Path) -> None:
    async with taking(tmp_path, detector()) as taken:
        paths = (await taken.get("/openapi.json")).json["paths"]
        assert {"/jobs", "/jobs/{id}", "/jobs/{id}/result"} <= paths.keys()
        submit, predict = paths["/jobs"]["post"], paths["/models/shapes/predict"]["post"]
        assert "image/jpeg" in submit["requestBody"]["content"]
        assert "422" in submit["responses"]
        assert predict["responses"]["202"] == submit["responses"]["202"]
        assert "Prefer" in {one["name"] for one in predict["parameters"]}
        asked = await post_json(taken.app, predict["requestBody"]["content"][JSON]["example"])
        assert asked.status == 200
    (tmp_path / "off").mkdir()
    async with working(tmp_path / "off", detector()) as worker:
        paths = (await ask(worker.app, "/openapi.json", method="GET")).json["paths"]
        assert "/jobs" not in paths
        assert "202" not in paths["/models/shapes/predict"]["post"]["responses"]
