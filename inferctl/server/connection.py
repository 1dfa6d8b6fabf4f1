"""What the transport sees of a connection: it reads into buffers that the protocol chooses."""

from __future__ import annotations

import asyncio
from typing import Any

from inferctl.server.connections import Connections
from inferctl.server.predict import Predict
from inferctl.server.protocol import Protocol


class Connection(asyncio.BufferedProtocol):
    """Passes everything on to a `Protocol`.

    That one is uvicorn's, hence an `asyncio.Protocol`, and would be given copies of what was read.
    """

    def __init__(self, predict: Predict, connections: Connections, **uvicorns: Any) -> None:
        self._protocol = protocol = Protocol(predict, connections, **uvicorns)
        # The two that are called for every request are the protocol's own.
        self.get_buffer = protocol.get_buffer  # type: ignore[method-assign]
        self.buffer_updated = protocol.buffer_updated  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is here."""
        self._protocol.connection_made(transport)  # type: ignore[arg-type] # uvicorn says Transport

    def eof_received(self) -> None:
        """The client will send no more."""
        self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take its answers."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """It takes them again."""
        self._protocol.resume_writing()
