"""What a head alone is refused for, and what becomes of the body that follows it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from inferctl.arena.ledger import MEMORY_IS_SHORT, Ledger
from inferctl.server.call import SWALLOWED_BYTES
from inferctl.server.prediction import SMALL_BODY_BYTES
from inferctl.settings import LimitsSettings, ModelSettings, ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .loop import until
from .wire import LAST_CHUNK, Client, Service, chunks, head, packet, serving
from .wiring import Worker, working

AS_JSON = {"Content-Type": JSON}
# So many numbers may be sent to it that blanks are no more than those.
MANY = ModelSettings(limits=LimitsSettings(max_rows=65_536))
HOST = {"Host": "here"}
LIMIT = 300_000
BODY = orjson.dumps({"inputs": [1, 2, 3, 4]})
MIB = 1024 * 1024


def head_of(size: int, **headers: str) -> bytes:
    """A head that announces a body."""
    return head("/predict", HOST | {"Content-Length": str(size)} | AS_JSON | headers)


def asking(size: int = 0) -> bytes:
    return packet(body=BODY.ljust(size), headers=AS_JSON)


def chunked(*pieces: bytes) -> bytes:
    data = head("/predict", HOST | {"Transfer-Encoding": "chunked"} | AS_JSON)
    return data + chunks(*pieces) + LAST_CHUNK


def no_time(worker: Worker, row_s: float = 1000.0) -> None:
    """From now on no row that waits is before its time."""
    worker.ledger.blocks[Ledger.ENGINE].cell("inferctl_row_seconds", 0).set(row_s)


async def waiting(worker: Worker, service: Service) -> Client:
    """A client whose row is in the engine."""
    client = await service.connect()
    await client.send(asking())
    await worker.slots_are_used(1)
    return client


def shed(worker: Worker, reason: str) -> float:
    return worker.ledger.total("inferctl_shed_total", 0, reason)


@pytest.mark.row(38)
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, br", "zstd", "GZIP", ""])
async def test_an_encoded_body_is_refused_before_it_comes(tmp_path: Path, encoding: str) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        answer = await client.ask(head_of(10_000, **{"Content-Encoding": encoding}))
        assert (answer.status, answer.json["code"]) == (415, "unsupported_media")
        assert worker.slots_in_use() == worker.models[0].admission.body_bytes == 0


@pytest.mark.row(40)
@pytest.mark.parametrize(
    "kind",
    ["", "text/html", "json", "application/jso", "x" * 4096, "application/json; charset=utf-16"],
    ids=lambda kind: kind[:40] or "none",
)
async def test_a_content_type_that_is_not_taken_is_refused_before_its_body_comes(
    tmp_path: Path, kind: str
) -> None:
    headers = HOST | {"Content-Length": "10000"} | ({"Content-Type": kind} if kind else {})
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        answer = await client.ask(head("/predict", headers))
        assert (answer.status, answer.json["code"]) == (415, "unsupported_media")


@pytest.mark.row(40)
@pytest.mark.parametrize("kind", ["application/json; charset=UTF-8", "Application/JSON;x=y; ;"])
async def test_parameters_that_change_nothing_are_taken(tmp_path: Path, kind: str) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        answer = await service.ask(body=BODY, headers={"Content-Type": kind})
        assert answer.status == 200


@pytest.mark.row(37)
@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1])
async def test_a_body_may_be_as_large_as_the_limit(tmp_path: Path, size: int) -> None:
    server = ServerSettings(max_body_bytes=LIMIT)
    status = 200 if size <= LIMIT else 413
    body = BODY.ljust(size)
    async with (
        working(tmp_path, numbers(), server=server, settings=MANY) as worker,
        serving(worker) as service,
    ):
        client = await service.connect()
        data = head_of(size) if status == 413 else packet(body=body, headers=AS_JSON)
        assert (await client.ask(data)).status == status, "announced: not a byte of it is needed"
        client = await service.connect()
        assert (await client.ask(chunked(body[:9000], body[9000:]))).status == status
        assert worker.models[0].admission.body_bytes == 0


@pytest.mark.parametrize("size", [1000, 20_000, SWALLOWED_BYTES])
@pytest.mark.parametrize("is_known", [True, False], ids=["known head", "new head"])
async def test_who_is_told_to_come_back_keeps_the_connection(
    tmp_path: Path, size: int, is_known: bool
) -> None:
    async with (
        working(tmp_path, numbers(), verdict=None, settings=MANY) as worker,
        serving(worker) as service,
    ):
        client, first = await service.connect(), await waiting(worker, service)
        if is_known:
            await client.send(asking(size))
            await worker.slots_are_used(2)
            for waits in (first, client):
                worker.engine.answer(await worker.engine.next())
                assert (await waits.answer()).status == 200
            first = await waiting(worker, service)
        no_time(worker)
        for _ in range(2):
            answer = await client.ask(asking(size))
            assert (answer.status, answer.json["code"]) == (429, "overloaded")
            assert int(answer.headers["retry-after"]) * 1000 >= int(
                answer.headers["retry-after-ms"]
            )
        worker.engine.answer(await worker.engine.next())
        assert (await first.answer()).status == 200
        await client.send(asking(size))
        worker.engine.answer(await worker.engine.next())
        assert (await client.answer()).status == 200
        assert shed(worker, "deadline") == 2
        assert worker.models[0].admission.body_bytes == 0


async def test_a_chunked_body_is_refused_and_its_connection_kept(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        client, first = await service.connect(), await waiting(worker, service)
        no_time(worker)
        body = BODY.ljust(20_000)
        for _ in range(2):
            assert (await client.ask(chunked(body[:7], body[7:9000], body[9000:]))).status == 429
        worker.engine.answer(await worker.engine.next())
        assert (await first.answer()).status == 200


async def test_who_sends_much_is_told_at_once(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        first = await waiting(worker, service)
        no_time(worker)
        client = await service.connect()
        assert (await client.ask(head_of(SWALLOWED_BYTES + 1))).status == 429
        worker.engine.answer(await worker.engine.next())
        assert (await first.answer()).status == 200


async def test_a_body_is_counted_until_it_is_decoded_or_lost(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        admission = worker.models[0].admission
        client, leaving = await service.connect(), await service.connect()
        await leaving.send(asking(20_000)[:-1])
        await client.send(asking(30_000)[:-1])
        await until(lambda: admission.body_bytes == 49_998)
        await leaving.leave()
        await client.send(b" ")
        worker.engine.answer(await worker.engine.next())
        assert (await client.answer()).status == 200
        assert admission.body_bytes == 0


LITTLE = ModelSettings(limits=LimitsSettings(memory_bytes=MIB, max_rows=65_536))


@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "announced"])
async def test_bodies_take_no_more_memory_than_they_may(tmp_path: Path, is_chunked: bool) -> None:
    async with (
        working(tmp_path, numbers(), settings=LITTLE) as worker,
        serving(worker) as service,
    ):
        admission = worker.models[0].admission
        slow, client = await service.connect(), await service.connect()
        await slow.send(asking(MIB - 10_000)[:-1])
        await until(lambda: admission.body_bytes == MIB - 10_001)
        body = BODY.ljust(20_000)
        answer = await client.ask(
            chunked(body[:9000], body[9000:]) if is_chunked else asking(20_000)
        )
        assert answer.status == 429
        assert "memory" in answer.json["detail"]
        assert shed(worker, "memory") == 1
        assert admission.body_bytes == MIB - 10_001
        assert (await client.ask(asking(5000))).status == 200
        assert (await slow.ask(b" ")).status == 200


async def test_while_memory_is_short_small_bodies_are_taken(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        is_short = worker.ledger.blocks[Ledger.SUPERVISOR].state(MEMORY_IS_SHORT)
        is_short.set(1)
        client = await service.connect()
        for size, status in ((0, 200), (SMALL_BODY_BYTES, 200), (SMALL_BODY_BYTES + 1, 429)):
            assert (await client.ask(asking(size))).status == status
        assert (await client.ask(chunked(BODY))).status == 429, "nobody knows how long it gets"
        is_short.set(0)
        assert (await client.ask(chunked(BODY))).status == 200


async def test_nothing_is_received_while_the_models_load(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        worker.engine_is_ready(False)
        client = await service.connect()
        answer = await client.ask(head_of(SWALLOWED_BYTES + 1))
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
