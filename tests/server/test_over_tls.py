"""How connections end whose clients do not say that they have heard of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from inferctl.server.protocol import Protocol
from tests.certificate import write_certificate
from tests.tasks.tinybundles import numbers

from .loop import until
from .test_closing import ASKING
from .wire import NEVER_S, Service, serving
from .wiring import working

# The system would wait for three times as long.
SOON_S = 10


@asynccontextmanager
async def encrypted(folder: Path, **limits: Any) -> AsyncIterator[Service]:
    cert, key = map(str, write_certificate(folder))
    limits = {"write_timeout_s": NEVER_S, **limits}
    async with (
        working(folder, numbers()) as worker,
        serving(worker, tls_cert=cert, tls_key=key, **limits) as service,
    ):
        yield service


async def silent(service: Service) -> ssl.SSLSocket:
    """A client that shakes hands, and then reads no more."""
    sock = socket.create_connection(service.address)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    return await asyncio.to_thread(trusting.wrap_socket, sock)


async def connected(service: Service) -> Protocol:
    """The server's side of the only client, who may know of it sooner."""
    await until(lambda: service.server.server_state.connections)
    return service.only_connection


async def test_who_does_not_say_that_it_heard_is_not_waited_for_for_long(tmp_path: Path) -> None:
    async with encrypted(tmp_path, write_timeout_s=0.05) as service:
        with await silent(service):
            (await connected(service)).leave("idle")
            async with asyncio.timeout(SOON_S):
                await service.connections_are_gone()
        assert service.closed() == {"idle": 1}


async def test_its_room_is_made_at_once(tmp_path: Path) -> None:
    async with encrypted(tmp_path, max_connections=1) as service:
        with await silent(service):
            await connected(service)
            with await silent(service):
                async with asyncio.timeout(SOON_S):
                    await until(service.closed)
        await service.connections_are_gone()
        assert service.closed() == {"evicted": 1, "client": 1}


async def test_for_whom_there_is_no_room_takes_none(tmp_path: Path) -> None:
    async with encrypted(tmp_path, max_connections=1) as service:
        with await silent(service) as sending:
            sending.sendall(ASKING[:-1])
            await until(lambda: service.connections.bodies.oldest())
            with await silent(service):
                async with asyncio.timeout(SOON_S):
                    await until(service.closed)
            assert service.closed() == {"conn_cap": 1}
        await service.connections_are_gone()
