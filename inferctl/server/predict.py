"""The way to a model: which paths predict, and predict requests that come over ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from inferctl.errors import MethodNotAllowed, NotFound
from inferctl.server.asgi import Receive
from inferctl.server.call import Call, Fields, Reply, announced_bytes
from inferctl.server.dialects.dialect import Dialect, Form
from inferctl.server.dialects.native import Native
from inferctl.server.prediction import Prediction
from inferctl.server.served import ServedModel
from inferctl.server.terms import Terms, terms_of
from inferctl.server.workplace import Workplace

PREDICT = "/predict"


class Route(NamedTuple):
    """Where a path leads."""

    model: ServedModel
    dialect: Dialect


class Head(NamedTuple):
    """What the parser said of an ordinary predict request; `body_bytes` is 0 when not announced.

    `form` is how its body is read, once a body was read after this head.
    """

    route: Route
    path: str
    query: bytes
    fields: Fields
    keep_alive: bool
    body_bytes: int
    terms: Terms
    form: Form | None = None


class Predict:
    """`POST /predict` and `POST /models/{name}/predict`."""

    def __init__(
        self, models: Mapping[str, ServedModel], default: ServedModel | None, work: Workplace
    ) -> None:
        self.work = work
        # By raw path, for the protocol: a path that is written otherwise comes over ASGI.
        native = Native()
        self.routes = {
            f"/models/{name}{PREDICT}".encode(): Route(model, native)
            for name, model in models.items()
        }
        if default is not None:
            self.routes[PREDICT.encode()] = Route(default, native)
        # By the bytes before the empty line; they mean the same on every connection.
        self.known_heads: dict[bytes, Head] = {}

    @staticmethod
    def is_predict(path: str) -> bool:
        """Whether a path predicts, should its model exist."""
        return path == PREDICT or (
            path.startswith("/models/") and path.endswith(PREDICT) and path.count("/") == 3
        )

    async def over_asgi(self, call: Call, receive: Receive) -> Reply:
        """Answer a request with the messages of ASGI. Raises RequestError."""
        if call.method != "POST":
            raise MethodNotAllowed("predict takes POST only", allow="POST")
        route = self.routes.get(call.path.encode())
        if route is None and call.path == PREDICT:
            raise NotFound("no model is marked as default", hint="use /models/{name}/predict")
        if route is None:
            raise NotFound("no such model", hint="GET /models lists them")
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        terms = terms_of(call.fields)
        request = Prediction(call, *route, self.work, answered.set_result, terms)
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
