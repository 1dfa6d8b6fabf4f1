"""A small ASGI client: one request, its messages, its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from inferctl.server.asgi import Message, Receive, Scope
from inferctl.server.call import Call
from inferctl.tasks.base import JSON

DISCONNECT: Message = {"type": "http.disconnect"}


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def make_scope(
    path: str = "/predict",
    *,
    method: str = "POST",
    query: str = "",
    headers: Mapping[str, str] | None = None,
) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode("utf-8"),
        "headers": [
            (key.lower().encode("latin-1"), value.encode("latin-1"))
            for key, value in (headers or {}).items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }


def messages(*given: Message) -> Receive:
    """These messages, then silence."""
    queue: asyncio.Queue[Message] = asyncio.Queue()
    for message in given:
        queue.put_nowait(message)
    return queue.get


def make_call(
    *, headers: Mapping[str, str] | None = None, path: str = "/predict", query: str = ""
) -> Call:
    scope = make_scope(path, query=query, headers=headers)
    return Call(scope["method"], path, scope["query_string"], dict(scope["headers"]))


@dataclass
class Answer:
    """What an application sent."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    async def take(self, message: Message) -> None:
        """For an application to send to."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            names = [key for key, _ in message["headers"]]
            assert len(names) == len(set(names)), "a header was sent twice"
            self.headers = {key.decode(): value.decode() for key, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


async def ask(
    app: Any,
    path: str = "/predict",
    body: bytes | Sequence[bytes] = b"",
    *,
    receive: Receive | None = None,
    **request: Any,
) -> Answer:
    """Send a request to its end and take the answer."""
    parts = [body] if isinstance(body, bytes) else list(body)
    given = [part(piece, more=piece is not parts[-1]) for piece in parts]
    answer = Answer()
    await app(make_scope(path, **request), receive or messages(*given), answer.take)
    return answer


async def get(app: Any, path: str, **request: Any) -> Answer:
    return await ask(app, path, method="GET", **request)


async def post_json(app: Any, content: Any, path: str = "/predict", **request: Any) -> Answer:
    headers = {"Content-Type": JSON} | request.pop("headers", {})
    return await ask(app, path, orjson.dumps(content), headers=headers, **request)
