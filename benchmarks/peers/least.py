"""The least that an HTTP server may be: `python -m benchmarks.peers.least PORT`.

Every POST gets the same answer, whatever it says; a GET is told of a model `least`. It shows what
generators hold where no server holds them back.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

MODEL = b'{"name":"least","version":1,"task":"tensor","example":{"inputs":[0.5,0.5,0.5,0.5]}}'
LENGTH = b"content-length: "


def answer(body: bytes) -> bytes:
    """A whole answer."""
    return b"HTTP/1.1 200 OK\r\n%b%d\r\n\r\n%b" % (LENGTH, len(body), body)


ABOUT, PREDICTED = answer(MODEL), answer(b'{"outputs":[0.25,0.75]}')


class Connection(asyncio.Protocol):
    """One request after the other."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        # uvloop's are none of asyncio's classes.
        self._write, self._received = cast("asyncio.Transport", transport).write, b""

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        received = self._received + data if self._received else data
        head = received.find(b"\r\n\r\n")
        if head > 0 and received[:4] == b"GET ":
            self._write(ABOUT)
            self._received = b""
        elif head > 0 and len(received) - head - 4 >= _length(received[:head].lower()):
            self._write(PREDICTED)
            self._received = b""
        else:
            self._received = received


def _length(head: bytes) -> int:
    at = head.find(LENGTH) + len(LENGTH)
    end = head.find(b"\r", at)
    return int(head[at : end if end > 0 else None])


async def main(port: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
