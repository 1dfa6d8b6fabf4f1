"""A worker that asks for keys: through either door, before a body, and of heads that it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from inferctl.arena.wire import Verdict
from inferctl.settings import ServerSettings
from inferctl.supervisor.keyring import Keyring
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .asgi import get, post_json
from .doors import Door
from .keyed import ADMIN_KEY, PREDICT_KEY, bearer, key_settings, keyed
from .loop import until
from .wire import head, packet, serving
from .wiring import few_slots, working

ROW = orjson.dumps({"inputs": [0, 0, 0, 0]})
ROWS = orjson.dumps({"items": [{"inputs": [0, 0, 0, 0]}] * 3})
CHALLENGE = 'Basic realm="inferctl", Bearer realm="inferctl"'


def asking(key: str = PREDICT_KEY, body: bytes = ROW) -> bytes:
    return packet(body=body, headers={"Content-Type": JSON} | bearer(key))


def with_quota(**quotas: Any) -> ServerSettings:
    return ServerSettings(api_keys={"app": key_settings(PREDICT_KEY, **quotas)})


def two_keys() -> ServerSettings:
    """Both predict."""
    return ServerSettings(
        api_keys={"flood": key_settings(PREDICT_KEY), "trickle": key_settings(ADMIN_KEY)}
    )


@pytest.mark.row(164)
async def test_both_doors_ask_for_a_key(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, numbers(), server=keyed()) as worker, door(worker) as way:
        content = {"inputs": [0, 0, 0, 0]}
        headers = {"Host": "here"}
        refused = await way.post_json(content, headers=headers)
        assert (refused.status, refused.json["code"]) == (401, "unauthorized")
        assert refused.headers["www-authenticate"] == CHALLENGE
        forbidden = await way.post_json(content, headers=headers | bearer(ADMIN_KEY))
        assert (forbidden.status, forbidden.json["code"]) == (403, "forbidden")
        assert worker.engine.submitted.empty()
        for outcome in ("unauthorized", "forbidden"):
            value = f"predict {outcome}"
            assert worker.ledger.total("inferctl_requests_total", value=value) == 1
        answer = await way.post_json(content, headers=headers | bearer(PREDICT_KEY))
        assert answer.status == 200


@pytest.mark.row(164)
async def test_who_has_no_key_is_answered_before_a_byte_of_the_body(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), server=keyed()) as worker, serving(worker) as service:
        answers = []
        for path in ("/predict", "/models/numbers/predict", "/nowhere", "/v2/repository/index"):
            for size in ({"Content-Length": "1000000"}, {"Transfer-Encoding": "chunked"}):
                client = await service.connect()
                answers.append(await client.ask(head(path, {"Host": "here"} | size)))
                assert await client.is_closed()
        assert {answer.status for answer in answers} == {401}
        assert {answer.headers["connection"] for answer in answers} == {"close"}


@pytest.mark.row(164)
async def test_a_body_for_which_there_is_no_key_is_not_asked_for(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), server=keyed()) as worker, serving(worker) as service:
        client = await service.connect()
        expecting = {"Host": "here", "Content-Length": "9", "Expect": "100-continue"}
        assert (await client.ask(head("/predict", expecting))).status == 401


async def test_a_connection_without_a_key_is_kept_if_no_body_is_left_on_it(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), server=keyed()) as worker, serving(worker) as service:
        client = await service.connect()
        for _ in range(2):
            assert (await client.ask(packet("/models", method="GET"))).status == 401


async def test_the_log_has_the_name_of_the_key(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), server=keyed()) as worker:
        async with serving(worker) as service:
            client = await service.connect()
            for _ in range(2):  # the second head is known
                await client.ask(asking())
            await service.ask(headers=bearer(ADMIN_KEY))
            await service.ask(headers=bearer("inferctl_another"))
        entries = [(entry["key_id"], entry["status"]) for entry in worker.logged()]
        text = worker.log_path.read_text()
    assert entries == [("app", 200), ("app", 200), ("ops", 403), (None, 401)]
    for key in (PREDICT_KEY, ADMIN_KEY, "inferctl_another"):
        assert key not in text


async def test_a_head_that_is_known_is_asked_for_its_quota(tmp_path: Path) -> None:
    server = with_quota(requests_per_s=3)
    async with working(tmp_path, numbers(), server=server) as worker, serving(worker) as service:
        client = await service.connect()
        answers = [await client.ask(asking()) for _ in range(5)]
        assert len(worker.predict.known_heads) == 1
        assert [answer.status for answer in answers] == [200] * 3 + [429] * 2
        assert answers[-1].json["detail"] == "this key may ask 3 times a second"
        assert answers[-1].headers["retry-after"] == "1"
        assert worker.ledger.total("inferctl_shed_total", value="quota") == 2


async def test_a_head_that_is_known_is_unknown_when_keys_change(tmp_path: Path) -> None:
    server = keyed()
    async with working(tmp_path, numbers(), server=server) as worker, serving(worker) as service:
        client = await service.connect()
        assert (await client.ask(asking())).status == 200
        assert worker.predict.known_heads
        worker.predict.renew_keys(Keyring({"ops": server.api_keys["ops"]}).keys)
        assert (await client.ask(asking())).status == 401


@pytest.mark.parametrize("body", [ROW, ROWS, b"junk"])
async def test_whatever_becomes_of_a_request_it_is_under_way_no_more(
    tmp_path: Path, body: bytes
) -> None:
    server = with_quota(max_concurrent=1)
    async with working(tmp_path, numbers(), server=server) as worker, serving(worker) as service:
        client = await service.connect()
        for _ in range(3):
            assert (await client.ask(asking(body=body))).status in (200, 400)
        key = worker.predict.access.check(
            "POST", "/predict", [(b"x-api-key", PREDICT_KEY.encode())]
        )
        assert key is not None
        assert set(key.rows.values()) | set(key.body_bytes.values()) <= {0}


async def test_requests_under_way_are_counted_until_they_are_answered(tmp_path: Path) -> None:
    server = with_quota(max_concurrent=2)
    async with (
        working(tmp_path, numbers(), server=server, verdict=None) as worker,
        serving(worker) as service,
    ):
        clients = [await service.connect() for _ in range(2)]
        for client in clients:
            await client.send(asking())
        rows = [await worker.engine.next() for _ in clients]
        refused = await (await service.connect()).ask(asking())
        assert refused.status == 429
        await clients[0].leave()
        await until(lambda: worker.models[0].requests == 1)
        late = await service.connect()
        await late.send(asking())
        rows.append(await worker.engine.next())
        for row in rows:
            worker.engine.answer(row, Verdict.DONE)
        assert [(await client.answer()).status for client in (clients[1], late)] == [200, 200]


@pytest.mark.row(12)
async def test_a_key_leaves_room_in_the_queue_for_others(tmp_path: Path) -> None:
    async with (
        working(tmp_path, numbers(), server=two_keys(), verdict=None, slots=10) as worker,
        serving(worker) as service,
    ):
        flooding = [await service.connect() for _ in range(10)]
        for client in flooding:
            await client.send(asking())
        refused = [await client.answer() for client in flooding[8:]]
        assert [answer.status for answer in refused] == [429, 429]
        assert refused[0].json["detail"] == "this key has its share of what may wait"
        assert worker.ledger.total("inferctl_shed_total", value="fair_share") == 2
        client = await service.connect()
        await client.send(asking(ADMIN_KEY))
        rows = [await worker.engine.next() for _ in range(9)]
        for row in rows:
            worker.engine.answer(row)
        assert (await client.answer()).status == 200


@pytest.mark.row(12)
async def test_a_key_leaves_room_in_memory_for_the_bodies_of_others(tmp_path: Path) -> None:
    body, mib = bytes(200 * 1024), 1024 * 1024
    settings = few_slots(memory_bytes=mib)
    async with (
        working(tmp_path, numbers(), server=two_keys(), settings=settings) as worker,
        serving(worker) as service,
    ):
        held = worker.models[0].admission
        begun = {"Host": "here", "Content-Length": str(len(body) + 1), "Content-Type": JSON}
        for count in range(1, 5):
            client = await service.connect()
            await client.send(head("/predict", begun | bearer(PREDICT_KEY)) + body)
            await until(lambda: held.body_bytes >= count * len(body))  # noqa: B023 - called here only
        client = await service.connect()
        refused = await client.ask(asking(body=ROW.ljust(len(body))))
        assert refused.json["detail"] == "this key has its share of what may wait"
        client = await service.connect()
        assert (await client.ask(asking(ADMIN_KEY, ROW.ljust(100_000)))).status == 200


async def test_a_key_that_is_alone_may_have_the_whole_queue(tmp_path: Path) -> None:
    async with (
        working(tmp_path, numbers(), server=with_quota(), verdict=None, slots=4) as worker,
        serving(worker) as service,
    ):
        for client in [await service.connect() for _ in range(4)]:
            await client.send(asking())
        await worker.slots_are_used(4)


async def test_a_request_that_fills_the_queue_alone_is_taken(tmp_path: Path) -> None:
    server = keyed()
    async with working(tmp_path, numbers(), server=server, slots=3) as worker:
        answer = await post_json(
            worker.app, orjson.loads(ROWS), headers={"Host": "here"} | bearer(PREDICT_KEY)
        )
        assert {"inputs", "detail"}.isdisjoint(answer.json["items"][0])


@pytest.mark.row(172)
async def test_both_doors_know_their_names_and_pages(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, numbers()) as worker, door(worker) as way:
        content = {"inputs": [0, 0, 0, 0]}
        other = await way.post_json(content, headers={"Host": "evil.example"})
        assert (other.status, other.json["code"]) == (421, "misdirected")
        page = {"Host": "here", "Origin": "http://evil.example"}
        assert (await way.post_json(content, headers=page)).status == 403
        assert (await way.post_json(content, headers={"Host": "here"})).status == 200


async def test_metrics_and_health_want_a_key_where_there_are_keys(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), server=keyed()) as worker:
        for path in ("/metrics", "/health", "/models", "/", "/docs", "/openapi.json"):
            assert (await get(worker.app, path)).status == 401
            for key in (PREDICT_KEY, ADMIN_KEY):
                assert (await get(worker.app, path, headers=bearer(key))).status == 200


@pytest.mark.row(168)
@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/docs/start.js", "/"])
async def test_beyond_loopback_there_is_no_page_unless_it_is_asked_for(
    tmp_path: Path, path: str
) -> None:
    public = keyed(host="0.0.0.0")
    async with working(tmp_path, numbers(), server=public) as worker:
        assert (await get(worker.app, path, headers=bearer(PREDICT_KEY))).status == 404
    asked = public.model_copy(update={"docs": True, "ui": True})
    async with working(tmp_path, numbers(), server=asked) as worker:
        there = 404 if path == "/redoc" else 200
        assert (await get(worker.app, path, headers=bearer(PREDICT_KEY))).status == there
        assert (await get(worker.app, path)).status == 401
