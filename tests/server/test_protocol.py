"""What clients may send over a socket, and in what pieces; every answer comes, and in order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from inferctl.arena.wire import Verdict
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from tests.tasks.pictures import encoded, plain
from tests.tasks.tinybundles import detector, numbers

from .asgi import Answer
from .wire import LAST_CHUNK, chunks, head, packet, serving
from .wiring import ServedModel, outputs_of, working

AS_JSON = {"Content-Type": JSON}
CHUNKED = {"Host": "here", "Transfer-Encoding": "chunked", **AS_JSON}
LIVEZ = packet("/livez", method="GET")


def body_of(number: float) -> bytes:
    return orjson.dumps({"inputs": [number, 0, 0, 0]})


def asking(number: float, path: str = "/predict", **headers: str) -> bytes:
    return packet(path, body_of(number), headers=AS_JSON | headers)


def echo(model: ServedModel, slot: int) -> None:
    outputs_of(model, slot)["logits"][:] = model.arena.inputs["input"][slot][:3]


def told(answer: Answer) -> Any:
    """The number that was sent, as the model got it; "live" for the probe."""
    assert answer.status == 200
    return answer.json["outputs"]["logits"][0] if "outputs" in answer.json else "live"


@pytest.mark.parametrize("size", [1, 2, 7, 50, 1000])
async def test_a_request_may_come_in_pieces(tmp_path: Path, size: int) -> None:
    data = asking(5)
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for _ in range(3):
            await client.send_in_pieces(data, size)
            assert told(await client.answer()) == 5


@pytest.mark.parametrize("together", [True, False])
async def test_a_body_may_be_chunked(tmp_path: Path, together: bool) -> None:
    body = body_of(5)
    pieces = [head("/predict", CHUNKED), chunks(body[:3], body[3:]), LAST_CHUNK]
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for _ in range(3):
            await client.feed([b"".join(pieces)] if together else pieces)
            assert told(await client.answer()) == 5


@pytest.mark.parametrize(
    "requests",
    [
        [1, 2], [1, 2, 3, 4, 5], ["live", 1], [1, "live"], ["live", 1, "live", 2],
        [1, "live", "live", 2, 3],
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("verdict", [Verdict.DONE, None])
async def test_requests_in_one_packet_are_answered_in_order(
    tmp_path: Path, requests: list[Any], verdict: Verdict | None
) -> None:
    """Whether the engine answers at once or, with the requests in the pipeline, later."""
    data = b"".join(LIVEZ if request == "live" else asking(request) for request in requests)
    async with (
        working(tmp_path, numbers(), fill=echo, verdict=verdict) as worker,
        serving(worker) as service,
    ):
        client = await service.connect()
        await client.send(data)
        for request in requests:
            if verdict is None and request != "live":
                worker.engine.answer(await worker.engine.next())
            assert told(await client.answer()) == request
        assert told(await client.ask(LIVEZ)) == "live", "nothing more comes"


async def test_requests_of_which_one_is_refused_at_once_are_answered_in_order(
    tmp_path: Path,
) -> None:
    refused = packet(body=b"{}", headers=AS_JSON)
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(refused + asking(1) + refused + refused + asking(2))
        answers = [await client.answer() for _ in range(5)]
        assert [answer.status for answer in answers] == [422, 200, 422, 422, 200]
        assert [told(answer) for answer in answers[1::3]] == [1, 2]


async def test_a_connection_is_kept_for_many_requests(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for number in range(100):
            answer = await client.ask(asking(number))
            assert told(answer) == number
            assert "connection" not in answer.headers
            assert told(await client.ask(LIVEZ)) == "live"
        assert len(service.server.server_state.connections) == 1


async def test_clients_on_many_connections_get_their_own_answers(tmp_path: Path) -> None:
    async with (
        working(tmp_path, numbers(), fill=echo, verdict=None) as worker,
        serving(worker) as service,
    ):
        clients = [await service.connect() for _ in range(8)]
        for _ in range(3):
            for number, client in enumerate(clients):
                await client.send(asking(number))
            for row in reversed([await worker.engine.next() for _ in clients]):
                worker.engine.answer(row)
            answers = [told(await client.answer()) for client in clients]
            assert answers == list(range(8))


async def test_http_1_0_is_answered_and_closed(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        answer = await client.ask(asking(5).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert told(answer) == 5
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()


async def test_a_client_that_says_so_is_the_last_one_on_its_connection(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        assert told(await client.ask(asking(1))) == 1
        answer = await client.ask(asking(5, Connection="close"))
        assert told(answer) == 5
        assert answer.headers["connection"] == "close"
        assert await client.is_closed()


async def test_a_client_that_expects_to_be_told_to_go_on_is_told(tmp_path: Path) -> None:
    data = asking(5, Expect="100-continue")
    start = data.index(b"\r\n\r\n") + 4
    async with working(tmp_path, numbers(), fill=echo) as worker, serving(worker) as service:
        client = await service.connect()
        for _ in range(2):
            assert (await client.ask(data[:start])).status == 100
            assert told(await client.ask(data[start:])) == 5
        assert told(await client.ask(asking(6))) == 6


async def test_a_client_that_expects_is_refused_before_it_sends(tmp_path: Path) -> None:
    server = ServerSettings(max_body_bytes=1024)
    async with working(tmp_path, numbers(), server=server) as worker, serving(worker) as service:
        client = await service.connect()
        headers = {"Host": "here", "Content-Length": "1025", "Expect": "100-continue"}
        answer = await client.ask(head("/predict", headers))
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await client.is_closed()


@pytest.mark.parametrize(
    "data",
    [b"hello\r\n\r\n", b"POST /pre dict HTTP/1.1\r\n\r\n",
     b"POST /predict HTTP/1.1\r\nno colon\r\n\r\n",
     b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
     b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     b"\x16\x03\x01\x02\x00"],
)  # fmt: skip
async def test_what_is_no_http_is_malformed(tmp_path: Path, data: bytes) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        await client.ask(asking(5))
        answer = await client.ask(data)
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert await client.is_closed()


async def test_a_body_that_becomes_malformed_is_refused(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await service.connect()
        await client.send(head("/predict", CHUNKED) + chunks(b"{") + b"no length\r\n")
        assert (await client.answer()).status == 400
        assert await client.is_closed()
        assert worker.slots_in_use() == 0
    assert [entry["outcome"] for entry in worker.logged()] == ["malformed"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("PUT", "/models/sums/predict", 405),
     ("POST", "/models/nothing/predict", 404), ("POST", "/predict/", 404)],
)  # fmt: skip
async def test_what_does_not_predict_is_a_problem(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        answer = await service.ask(path, body_of(1), method=method, headers=AS_JSON)
        assert (answer.status, answer.json["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers.get("allow") == ("POST" if status == 405 else None)
        assert "date" in answer.headers


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [("/predict", "version=3", 200), ("/predict", "version=2", 404),
     ("/predict", "confidence_threshold=0.2", 200), ("/predict", "confidence_threshold=2", 422),
     ("/models/shapes/predict", "", 200), ("/models/shapes/predict", "version=03", 404),
     ("/models/shape%73/predict", "version=3", 200), ("/%70redict", "", 200),
     ("http://here/predict", "version=3", 200), ("http://here/predict", "version=2", 404),
     ("/models/nothing/predict", "", 404), ("/models//predict", "", 404)],
)  # fmt: skip
async def test_a_raw_image_finds_its_model_and_its_options(
    tmp_path: Path, path: str, query: str, status: int
) -> None:
    headers = {"Content-Type": "image/png"}
    image = encoded(plain(), "PNG")
    async with working(tmp_path, detector()) as worker, serving(worker) as service:
        client = await service.connect()
        for _ in range(2):
            answer = await client.ask(packet(path, image, query=query, headers=headers))
            assert answer.status == status
            if "connection" in answer.headers:
                client = await service.connect()
