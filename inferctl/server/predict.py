"""The way to a model: which paths predict, and predict requests that come over ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from inferctl.errors import MethodNotAllowed, NotFound
from inferctl.server.asgi import Receive
from inferctl.server.call import Call, Fields, Reply, announced_bytes
from inferctl.server.prediction import Prediction, Respond
from inferctl.server.reading import Read
from inferctl.server.served import ServedModel
from inferctl.server.workplace import Workplace

PREDICT = "/predict"


class Head(NamedTuple):
    """What the parser said of an ordinary predict request; `body_bytes` is 0 when not announced.

    `read` is how its body is read, once a body was read after this head.
    """

    model: ServedModel
    path: str
    query: bytes
    fields: Fields
    keep_alive: bool
    body_bytes: int
    read: Read | None = None


class Predict:
    """`POST /predict` and `POST /models/{name}/predict`."""

    def __init__(
        self, models: Mapping[str, ServedModel], default: ServedModel | None, work: Workplace
    ) -> None:
        self._work = work
        # By raw path, for the protocol: a path that is written otherwise comes over ASGI.
        self.routes = {f"/models/{name}{PREDICT}".encode(): m for name, m in models.items()}
        if default is not None:
            self.routes[PREDICT.encode()] = default
        # By the bytes before the empty line; they mean the same on every connection.
        self.known_heads: dict[bytes, Head] = {}

    @staticmethod
    def is_predict(path: str) -> bool:
        """Whether a path predicts, should its model exist."""
        return path == PREDICT or (
            path.startswith("/models/") and path.endswith(PREDICT) and path.count("/") == 3
        )

    def begin(
        self, call: Call, model: ServedModel, respond: Respond, read: Read | None = None
    ) -> Prediction:
        """Start a request whose headers are here; feed it its body."""
        return Prediction(call, model, self._work, respond, read)

    async def over_asgi(self, call: Call, receive: Receive) -> Reply:
        """Answer a request with the messages of ASGI. Raises RequestError."""
        if call.method != "POST":
            raise MethodNotAllowed("predict takes POST only", allow="POST")
        model = self.routes.get(call.path.encode())
        if model is None and call.path == PREDICT:
            raise NotFound("no model is marked as default", hint="use /models/{name}/predict")
        if model is None:
            raise NotFound("no such model", hint="GET /models lists them")
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        request = self.begin(call, model, answered.set_result)
        request.begin(announced_bytes(call.fields))
        feeding = asyncio.ensure_future(_feed(request, receive))
        try:
            return await asyncio.shield(answered)
        finally:
            feeding.cancel()
            request.abandon()


async def _feed(request: Prediction, receive: Receive) -> None:
    """The body, and after it the client's leaving, which is the only message left."""
    complete = False
    while (message := await receive())["type"] != "http.disconnect":
        if complete:
            continue
        request.feed(message.get("body", b""))
        if not message.get("more_body", False):
            complete = True
            request.complete()
    request.abandon()
