"""One HTTP request while it is answered, and what is sent back."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

from inferctl.errors import (
    ClientGone,
    InferctlError,
    MethodNotAllowed,
    Overloaded,
    RequestError,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
PROBLEM_JSON = b"application/problem+json"
BUG = "an internal error; it was logged"


@dataclass(slots=True)
class Call:
    """A request: what came in, and what the log and the metrics need to know of it.

    `outcome` is the code of the problem that was sent, if one was.
    `timings_ms` collects the phases for `Server-Timing`, in their order.
    """

    scope: Scope
    receive: Receive
    begun_s: float = field(default_factory=time.monotonic)
    request_id: str = ""
    body_bytes: int = 0
    body_received: bool = False
    model: str = ""
    version: int = 0
    outcome: str = InferctlError.code
    timings_ms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        given = self.header(b"x-request-id")
        if given is not None and REQUEST_ID.fullmatch(given):
            self.request_id = given.decode("ascii")
        else:
            self.request_id = secrets.token_hex(8)

    @property
    def path(self) -> str:
        """The decoded path."""
        path: str = self.scope["path"]
        return path

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters, the last of each name. Raises RequestError."""
        text: bytes = self.scope["query_string"]
        if not text:
            return {}
        try:
            return dict(parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=32))
        except ValueError:
            raise RequestError("the query string cannot be parsed") from None

    @property
    def elapsed_ms(self) -> float:
        """Since the request's headers were complete."""
        return (time.monotonic() - self.begun_s) * 1000

    def header(self, name: bytes) -> bytes | None:
        """The first header of a lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                found: bytes = value
                return found
        return None

    def media_type(self) -> str:
        """The content type without its parameters; refuses encoded bodies."""
        encoding = self.header(b"content-encoding")
        if encoding is not None and encoding.lower() != b"identity":
            raise UnsupportedMedia("compressed bodies are not taken", hint="send it as it is")
        given = self.header(b"content-type") or b""
        return given.split(b";", 1)[0].strip().lower().decode("latin-1")

    async def body(self, max_bytes: int) -> bytes:
        """The whole body. Raises TooLarge from the length announced or counted, or ClientGone."""
        announced = self.header(b"content-length")
        if announced is not None and announced.isdigit() and int(announced) > max_bytes:
            raise _too_large(max_bytes)
        parts: list[bytes] = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("the client left while sending")
            parts.append(message.get("body", b""))
            self.body_bytes += len(parts[-1])
            if self.body_bytes > max_bytes:
                raise _too_large(max_bytes)
            if not message.get("more_body", False):
                self.body_received = True
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def wait(self, answered: asyncio.Future[None]) -> None:
        """Wait for a row's answer. Raises what the future raises, or ClientGone."""
        # With the body received the only message left is the client's leaving.
        leaving = asyncio.ensure_future(self.receive())
        leaving.add_done_callback(lambda _: _leave(answered))
        try:
            await answered
        finally:
            leaving.cancel()

    def mark(self, phase: str, milliseconds: float) -> None:
        """Add a phase to `Server-Timing`."""
        self.timings_ms[phase] = milliseconds

    def headers(self) -> Headers:
        """The headers that every answer carries."""
        timings = [f"{phase};dur={took:.3f}" for phase, took in self.timings_ms.items()]
        timings.append(f"total;dur={self.elapsed_ms:.3f}")
        return [
            (b"x-request-id", self.request_id.encode("ascii")),
            (b"server-timing", ", ".join(timings).encode("ascii")),
        ]


def _leave(answered: asyncio.Future[None]) -> None:
    if not answered.done():
        answered.set_exception(ClientGone("the client left while waiting"))


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than {max_bytes} bytes", hint="send a smaller one")


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer; `outcome` is its name in metrics and log."""

    status: int
    body: bytes
    outcome: str = "ok"
    content_type: bytes = b"application/json"
    headers: Headers = field(default_factory=list)

    async def send(self, call: Call, send: Send) -> None:
        """Send it with the headers that every answer carries."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode("ascii")),
            *self.headers,
            *call.headers(),
        ]
        if not call.body_received:
            # The rest of the body may never come, and nothing else bounds the wait for it.
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def problem(error: InferctlError, call: Call) -> Reply:
    """An error as RFC 9457 `application/problem+json`, from our own texts alone."""
    call.outcome = error.code
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "code": error.code,
        "detail": error.what,
        "request_id": call.request_id,
    }
    if error.hint:
        content["hint"] = error.hint
    headers: Headers = []
    if isinstance(error, Overloaded | Unavailable):
        headers.append((b"retry-after", str(error.retry_after_s).encode("ascii")))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", error.allow.encode("ascii")))
    return Reply(error.status, orjson.dumps(content), error.code, PROBLEM_JSON, headers)
