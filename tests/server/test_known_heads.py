"""A head whose bytes are known needs no parser; it must mean what the parser would say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from inferctl.server import protocol
from inferctl.server.call import SWALLOWED_BYTES
from inferctl.server.protocol import MAX_KNOWN_HEAD_BYTES, Protocol
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.tinybundles import numbers

from .asgi import Answer
from .loop import look_once
from .wire import LAST_CHUNK, chunks, head, packet, serving
from .wiring import ServedModel, outputs_of, working

AS_JSON = {"Content-Type": JSON}
END = b"\r\n\r\n"


def body_of(number: float, size: int = 0) -> bytes:
    return orjson.dumps({"inputs": [number, 0, 0, 0]}).ljust(size)


def asking(number: float, path: str = "/predict", size: int = 0, **headers: str) -> bytes:
    return packet(path, body_of(number, size), headers=AS_JSON | headers)


def echo(model: ServedModel, slot: int) -> None:
    outputs_of(model, slot)["logits"][:] = model.arena.inputs["input"][slot][:3]


def told(answer: Answer) -> Any:
    return answer.json["outputs"]["logits"][0]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The targets of the heads that were parsed."""
    targets: list[bytes] = []
    on_headers_complete = Protocol.on_headers_complete

    def noted(connection: Protocol) -> None:
        targets.append(connection.url)
        on_headers_complete(connection)

    monkeypatch.setattr(Protocol, "on_headers_complete", noted)
    return targets


async def test_a_head_is_parsed_once_for_all_connections(
    tmp_path: Path, parsed: list[bytes]
) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        ids = set()
        for number in range(6):
            if number % 2 == 0:
                client = await service.connect()
            answer = await client.ask(asking(number))
            assert told(answer) == number
            ids.add(answer.headers["x-request-id"])
        assert len(ids) == 6
        assert parsed == [b"/predict"]


async def test_known_and_unknown_heads_take_turns(tmp_path: Path, parsed: list[bytes]) -> None:
    data = asking(1)
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        assert told(await client.ask(data)) == 1
        for number in range(2, 9):
            assert told(await client.ask(asking(number))) == number
            assert (await client.ask(packet("/livez", method="GET"))).status == 200
            assert told(await client.ask(asking(-number))) == -number
            assert (await client.ask(packet(body=b"{}", headers=AS_JSON))).status == 422
        assert sorted(set(parsed)) == [b"/livez", b"/predict"]


@pytest.mark.parametrize("at", [1, -1, -5, -23])
async def test_a_known_head_may_come_in_pieces(tmp_path: Path, at: int) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        assert told(await client.ask(asking(1))) == 1
        for number in (2, 3):
            data = asking(number)
            await client.send(data[:at])
            await look_once()
            assert told(await client.ask(data[at:])) == number


@pytest.mark.parametrize("past", [0, 1, 2, 3, 4])
async def test_a_known_head_of_which_only_the_end_is_missing_is_no_body(
    tmp_path: Path, past: int
) -> None:
    """Not even where body and head are of about the same length."""
    bare = asking(1, size=200, X="").index(END)
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for size in range(190, 211):
            data = asking(1, size=200, X="x" * (size - bare))
            assert data.index(END) == size
            assert told(await client.ask(data)) == 1
            await client.send(data[: size + past])
            await look_once()
            assert told(await client.ask(data[size + past :])) == 1


async def test_a_known_head_with_the_next_request_behind_it_is_one_of_two(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        assert told(await client.ask(asking(1))) == 1
        await client.send(asking(2) + asking(3))
        assert [told(await client.answer()) for _ in range(2)] == [2, 3]


async def test_a_known_head_waits_for_the_request_before_it(tmp_path: Path) -> None:
    async with (
        working(tmp_path, numbers(), fill=echo, verdict=None) as worker,
        serving(worker) as service,
    ):
        client = await service.connect()
        for number in range(4):
            await client.send(asking(number))
            await look_once()
        for number in range(4):
            row = await worker.engine.next()
            await look_once()
            assert worker.engine.submitted.empty()
            worker.engine.answer(row)
            assert told(await client.answer()) == number


async def test_a_head_behind_another_one_is_not_taken_for_it(tmp_path: Path) -> None:
    """One client must not decide what the bytes of another one mean."""
    models = numbers(), numbers(name="other")
    async with working(tmp_path, *models, fill=echo) as worker, serving(worker) as service:
        mine, theirs = (asking(1, f"/models/{model.name}/predict") for model in models)
        refused = mine[: mine.index(END)] + END + b" " * len(body_of(1))
        attacker = await service.connect()
        await attacker.send(refused + theirs)
        assert [(await attacker.answer()).status for _ in range(2)] == [400, 200]
        client = await service.connect()
        for _ in range(2):
            assert (await client.ask(mine)).json["model"] == "sums"


async def test_blank_lines_before_a_head_change_nothing(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for blank in (b"", b"\r\n", b"\r\n\r\n", b"\r\n\r\n", b"\r\n", b""):
            assert told(await client.ask(blank + asking(1))) == 1


@pytest.mark.parametrize(
    "data",
    [
        head("/predict", {"Host": "here", "Transfer-Encoding": "chunked", **AS_JSON})
        + chunks(body_of(1))
        + LAST_CHUNK,
        asking(1).replace(b"HTTP/1.1", b"HTTP/1.0"),
        asking(1, X="x" * MAX_KNOWN_HEAD_BYTES),
        asking(1, "/predic%74"),
    ],
    ids=["chunked", "1.0", "long", "disguised"],
)
async def test_what_is_out_of_the_ordinary_is_parsed_every_time(
    tmp_path: Path, data: bytes, parsed: list[bytes]
) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        for _ in range(3):
            client = await service.connect()
            assert told(await client.ask(data)) == 1
    assert len(parsed) == 3


async def test_a_known_head_that_ends_the_connection_ends_it_every_time(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        for _ in range(3):
            client = await service.connect()
            answer = await client.ask(asking(1, Connection="close"))
            assert (told(answer), answer.headers["connection"]) == (1, "close")
            assert await client.is_closed()


async def test_a_known_head_does_not_lift_the_limit_of_the_body(tmp_path: Path) -> None:
    server = ServerSettings(max_body_bytes=1024)
    async with (
        working(tmp_path, numbers(), server=server) as worker,
        serving(worker) as service,
    ):
        for _ in range(3):
            client = await service.connect()
            answer = await client.ask(asking(1, size=SWALLOWED_BYTES + 1))
            assert (answer.status, answer.headers["connection"]) == (413, "close")


async def test_heads_that_differ_every_time_are_not_all_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_KNOWN_HEADS", 4)
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for number in range(10):
            trace = f"trace-{number}"
            answer = await client.ask(asking(number, **{"X-Request-ID": trace}))
            assert (told(answer), answer.headers["x-request-id"]) == (number, trace)
            assert 0 < len(worker.predict.known_heads) <= 4


async def test_a_head_within_a_trace_is_not_kept(tmp_path: Path) -> None:
    """It never comes again, and those that do would have to go for it."""
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        await client.ask(asking(1))
        known = {*worker.predict.known_heads}
        for number in range(3):
            parent = f"00-{'a' * 32}-{number + 1:016x}-01"
            answer = await client.ask(asking(number, traceparent=parent))
            assert told(answer) == number
        assert {*worker.predict.known_heads} == known
        assert len(known) == 1
