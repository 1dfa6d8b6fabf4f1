"""The way to a model: which paths predict, and predict requests that come over ASGI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from inferctl.arena.routes import UNMATCHED
from inferctl.arena.spec import KeySpec
from inferctl.errors import InferctlError
from inferctl.refusals import MethodNotAllowed, NotFound
from inferctl.server.access import Access, Key
from inferctl.server.asgi import Receive
from inferctl.server.call import Call, Fields, Headers, Reply, announced_bytes, query_of
from inferctl.server.catalogue import Catalogue
from inferctl.server.dialects.dialect import Dialect, Form
from inferctl.server.dialects.native import Native
from inferctl.server.dialects.plain import problem_of
from inferctl.server.dialects.v1 import V1
from inferctl.server.dialects.v2.dialect import V2
from inferctl.server.jobs.asked import prefers_async
from inferctl.server.prediction import Prediction
from inferctl.server.served import ServedModel
from inferctl.server.terms import Terms, terms_of
from inferctl.server.workplace import Workplace

Fault = asyncio.Future[InferctlError]

PREDICT = "/predict"
# What a query has in it that chooses a model or a version; a name may be written with %.
CHOOSING = (b"model", b"version", b"%")


class Route(NamedTuple):
    """Where a path leads."""

    model: ServedModel
    dialect: Dialect


class Head(NamedTuple):
    """What the parser said of an ordinary predict request; `body_bytes` is 0 when not announced.

    `key` is the API key that it has, where keys are asked for. `form` is how its body is read, once
    a body was read after this head.
    """

    route: Route
    path: str
    query: bytes
    fields: Fields
    keep_alive: bool
    body_bytes: int
    terms: Terms
    key: Key | None = None
    form: Form | None = None


class Predict:
    """Every path that predicts, in each dialect."""

    dialects: ClassVar[tuple[type[Dialect], ...]] = (Native, V1, V2)

    def __init__(self, catalogue: Catalogue, work: Workplace, access: Access) -> None:
        self._catalogue = catalogue
        self.access = access
        self.work = work
        # By raw path, for the protocol: a path that is written otherwise comes over ASGI.
        self.routes: dict[bytes, Route] = {}
        # By the bytes before the empty line; they mean the same on every connection.
        self.known_heads: dict[bytes, Head] = {}
        # Whether each answer is the last one of its connection.
        self.is_ending = False
        # Whether there are jobs.
        self.defers = False
        self.renew()

    def renew(self) -> None:
        """Lead to what the catalogue has now; whatever is on its way stays where it is."""
        catalogue = self._catalogue
        # New ones: they keep what they know of models.
        native, *others = (dialect() for dialect in self.dialects)
        self._native = native
        self.routes = {
            path.encode(): Route(model, dialect)
            for dialect in (native, *others)
            for name, default in catalogue.models.items()
            # The last one has the paths that name no version.
            for version, model in (
                *catalogue.versions(name).items(),
                (str(default.version), default),
            )
            for path in dialect.paths(name, version)
        }
        if catalogue.default is not None:
            self.routes[PREDICT.encode()] = Route(catalogue.default, native)
        self.known_heads.clear()

    def end(self) -> None:
        """The service ends: each answer is the last one of its connection."""
        self.is_ending = True
        self.known_heads.clear()

    def renew_keys(self, keys: Sequence[KeySpec]) -> None:
        """Other API keys count; requests that are on their way go on."""
        self.access.renew(keys)
        self.known_heads.clear()

    def refuse(self, error: InferctlError, call: Call) -> Reply:
        """The answer to a request that goes no further, counted and logged."""
        if not self.is_predict(call.path):
            call.route = UNMATCHED
        return self.account(problem_of(error, call), call)

    def account(self, reply: Reply, call: Call) -> Reply:
        """Count and log an answer that no model gave."""
        call.end(time.monotonic())
        work = self.work
        work.tally.count(call.route, reply.outcome)
        if work.traces is not None:
            work.traces.record(call, reply)
        work.log.record(call, reply)
        return reply

    def route(self, path: bytes, query: bytes) -> Route | None:
        """Where a request goes. Raises RequestError for a model or version that is not served."""
        route = self.routes.get(path)
        if not any(part in query for part in CHOOSING):
            return route
        choice = query_of(query)
        if path == PREDICT.encode() and "model" in choice:
            name = choice["model"]
        elif route is not None and route.dialect is self._native:
            name = route.model.name
            if choice.get("model", name) != name:
                raise NotFound("the path names another model", hint="use /predict?model=")
        else:
            return route
        return self.native(name, choice.get("version", ""))

    def native(self, model: str, version: str) -> Route:
        """Where our own dialect leads. Raises NotFound."""
        return Route(self._catalogue.find(model, version), self._native)

    @classmethod
    def is_predict(cls, path: str) -> bool:
        """Whether a path predicts, should its model exist."""
        return any(dialect.pattern.fullmatch(path) for dialect in cls.dialects)

    def lead(self, call: Call) -> Route:
        """Where a request for a prediction goes. Raises MethodNotAllowed or NotFound."""
        if call.method != "POST":
            raise MethodNotAllowed("predict takes POST only", allow="POST")
        route = self.route(call.path.encode(), call.query_string)
        if route is None and call.path == PREDICT:
            raise NotFound("no model is marked as default", hint="name one by /predict?model=")
        if route is None:
            raise NotFound("no such model or version", hint="GET /models lists them")
        return route

    def is_deferred(self, path: str, headers: Headers) -> bool:
        """Whether a request for a prediction is to be a job: it prefers that, and may."""
        return self.defers and bool(Native.pattern.fullmatch(path)) and prefers_async(headers)

    async def over_asgi(self, call: Call, receive: Receive, fault: Fault | None = None) -> Reply:
        """Answer a request with the messages of ASGI. Raises RequestError.

        `fault` is why its body will never be whole, once that is known.
        """
        route = self.lead(call)
        answered: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        terms = terms_of(call.fields)
        request = Prediction(call, *route, self.work, answered.set_result, terms)
        request.begin(announced_bytes(call.fields))
        if request.refusal and b"expect" in call.fields:
            request.fail(request.refusal)  # it has not sent its body, and need not

        def fail(fault: Fault) -> None:
            request.fail(fault.result())

        if fault:
            fault.add_done_callback(fail)
        feeding = asyncio.ensure_future(_feed(request, receive))
        try:
            return await asyncio.shield(answered)
        finally:
            feeding.cancel()
            request.abandon()
            if fault:  # its connection has it for as long as it is idle
                fault.remove_done_callback(fail)


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
