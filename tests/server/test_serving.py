"""A worker ends: whoever got through to it is answered, and nobody else gets through."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from inferctl.server import asgi_protocol
from inferctl.server import serving as serving_module
from inferctl.server.serving import refuse_handshakes

from .loop import look_once, until
from .test_closing import stuffed
from .test_connections import ASKING, LIVEZ, begun, numbers
from .wire import Service, serving
from .wiring import working

# Long before the end of its time.
SOON_S = 10


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(5)
        yield sock


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere they are reset")
def test_handshakes_are_refused_and_who_is_through_stays(listening: socket.socket) -> None:
    address = listening.getsockname()
    with socket.create_connection(address) as through:
        refuse_handshakes(listening)
        with pytest.raises(TimeoutError):
            socket.create_connection(address, timeout=0.05)
        accepted, _ = listening.accept()
        with accepted:
            through.sendall(b"still here")
            assert accepted.recv(64) == b"still here"


def test_a_system_that_cannot_refuse_them_goes_on() -> None:
    with socket.socket(socket.AF_UNIX) as unable:
        unable.close()
        refuse_handshakes(unable)


@pytest.mark.row(96)
async def test_who_waits_to_be_accepted_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop is held up while a client connects and asks."""
    monkeypatch.setattr(serving_module, "HANDSHAKE_S", 0)
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        service.server.should_exit = True
        with socket.create_connection(service.address) as waiting:
            waiting.sendall(ASKING)
            draining = asyncio.create_task(service.drain())
            answer = await asyncio.to_thread(waiting.recv, 65536)
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in answer
        await draining


@pytest.mark.row(96)
def test_all_who_wait_to_be_accepted_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop of a worker accepts one in each of its turns."""
    monkeypatch.setattr(serving_module, "HANDSHAKE_S", 0)

    async def answers() -> list[bytes]:
        async with working(tmp_path, numbers()) as worker, serving(worker) as service:
            service.server.should_exit = True
            with ExitStack() as clients:
                waiting = [
                    clients.enter_context(socket.create_connection(service.address))
                    for _ in range(10)
                ]
                for client in waiting:
                    client.sendall(ASKING)
                draining = asyncio.create_task(service.drain())
                heard = [await asyncio.to_thread(client.recv, 65536) for client in waiting]
            await draining
            return heard

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for answer in runner.run(answers()):
            assert answer.startswith(b"HTTP/1.1 200 ")


async def drained(service: Service) -> asyncio.Task[None]:
    """It drains, and no longer listens."""
    task = asyncio.create_task(service.drain())
    await until(lambda: not service.server.servers[0].sockets)
    return task


@pytest.mark.row(96)
@pytest.mark.parametrize("asking", [ASKING, LIVEZ])
async def test_a_connection_that_is_idle_has_one_more_answer(tmp_path: Path, asking: bytes) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        known, fresh = await service.connect(), await service.connect()
        assert "connection" not in (await known.ask(asking)).headers
        draining = await drained(service)
        for client in (known, fresh):
            answer = await client.ask(asking)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await client.is_closed()
        await draining


async def test_who_asks_for_nothing_more_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_protocol, "LAST_REQUEST_S", 0.05)
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        idle, sending = await service.connect(), await service.connect()
        await idle.ask(ASKING)
        await sending.send(begun("/predict", b""))
        draining = await drained(service)
        assert await idle.is_closed()
        assert not draining.done()
        await sending.leave()
        await draining


async def test_who_is_idle_only_later_is_not_waited_for_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_protocol, "LAST_REQUEST_S", 0)
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        client = await stuffed(service)
        draining = await drained(service)
        await look_once()
        assert service.server.server_state.connections
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(SOON_S):
            await client.reader.read()
        await draining
        assert service.closed() == {"drain": 1}


async def test_at_the_end_of_its_time_a_drain_answers_what_is_left(tmp_path: Path) -> None:
    async with working(tmp_path, numbers(), verdict=None) as worker, serving(worker) as service:
        service.server.config.timeout_graceful_shutdown = 0
        client = await service.connect()
        await client.send(ASKING)
        await worker.engine.next()
        await service.drain()
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
