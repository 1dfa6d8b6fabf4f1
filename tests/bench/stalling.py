"""A server process of known service times: SERVICE_S each, and STALL_S of every PERIOD_S nothing.

What would be answered in a stall is answered at its end, in order. As many requests as come are
served at once. Prints its port when it listens. The argument `steady` leaves the stalls out.
"""

from __future__ import annotations

import asyncio
import json
import sys

SERVICE_S = 0.02
PERIOD_S, STALL_S = 10.0, 1.0

MODEL = {"name": "m", "version": 1, "task": "text-classification", "example": {"text": "x"}}
PAGES = {b"/models": {"models": [MODEL]}, b"/models/m": MODEL, b"/readyz": {}}


def answered_s(came_s: float, service_s: float = SERVICE_S) -> float:
    """When a request that came then is answered; the first stall ends after PERIOD_S."""
    due_s = came_s + service_s
    into_s = due_s % PERIOD_S
    return due_s if into_s < PERIOD_S - STALL_S else due_s - into_s + PERIOD_S


def answer(status: str, content: object) -> bytes:
    """A whole answer."""
    body = json.dumps(content).encode()
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One after the other, as HTTP/1.1 without pipelining has it."""

    stalls = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length or 0):
            return
        self.received = b""
        method, path, _ = head.split(b" ", 2)
        if method == b"GET":
            found = PAGES.get(path)
            self.transport.write(answer("200 OK" if found is not None else "404 Not Found", found))
            return
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        due_s = answered_s(now_s) if self.stalls else now_s + SERVICE_S
        loop.call_at(due_s, self.transport.write, answer("200 OK", {}))


async def main() -> None:
    """Serve on a free port until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    Connection.stalls = sys.argv[1:] != ["steady"]
    asyncio.run(main())
