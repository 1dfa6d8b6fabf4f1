"""The two ways of a predict request into a worker: messages of ASGI, and bytes on a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from inferctl.tasks.base import JSON

from .asgi import Answer, ask
from .wire import serving
from .wiring import Worker


@dataclass
class Way:
    """Sends requests one way."""

    ask: Callable[..., Awaitable[Answer]]

    async def post_json(self, content: Any, path: str = "/predict", **request: Any) -> Answer:
        headers = {"Content-Type": JSON} | request.pop("headers", {})
        return await self.ask(path, orjson.dumps(content), headers=headers, **request)


Door = Callable[[Worker], AbstractAsyncContextManager[Way]]


@asynccontextmanager
async def over_asgi(worker: Worker) -> AsyncIterator[Way]:
    yield Way(partial(ask, worker.app))


@asynccontextmanager
async def over_the_wire(worker: Worker) -> AsyncIterator[Way]:
    async with serving(worker) as service:
        yield Way(service.ask)


DOORS: tuple[Door, ...] = (over_asgi, over_the_wire)
