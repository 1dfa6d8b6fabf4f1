"""The ASGI application: predict paths at once, everything else through FastAPI.

Every answer, an error too, gets its request id and timings here, is counted and logged.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from inferctl import __version__
from inferctl.arena.ledger import Block
from inferctl.errors import InferctlError, MethodNotAllowed, NotFound
from inferctl.server.call import Call, Message, Receive, Reply, Scope, Send, problem
from inferctl.server.docs import add_docs
from inferctl.server.health import Health, State
from inferctl.server.logs import RequestLog
from inferctl.server.metrics import CONTENT_TYPE, Exposition
from inferctl.server.openapi import add_predict_paths
from inferctl.server.predict import PREDICT, Predict
from inferctl.server.served import ServedModel

# Probes and scrapes come every few seconds for ever; they are not requests worth a log line.
UNLOGGED = frozenset(("/livez", "/readyz", "/healthz", "/metrics"))


class App:
    """The worker's ASGI application."""

    def __init__(
        self, predict: Predict, rest: FastAPI, models: Mapping[str, ServedModel], log: RequestLog,
        block: Block,
    ) -> None:  # fmt: skip
        self._predict = predict
        self._rest = rest
        self._models = models
        self._log = log
        self._block = block

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        call = Call(scope, receive)
        if _is_predict(call.path):
            reply = await self._answer(call)
            await reply.send(call, send)
        else:
            reply = await self._pass_on(call, send)
        if call.path not in UNLOGGED:
            self._count(call, reply)
            self._log.record(call, reply)

    async def _answer(self, call: Call) -> Reply:
        """The predict path; an error becomes its problem."""
        try:
            if call.scope["method"] != "POST":
                raise MethodNotAllowed("predict takes POST only")
            return await self._predict(call)
        except InferctlError as error:
            return problem(error, call)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the outermost loop: a bug must not leave a client without an answer
            traceback.print_exc(file=sys.stderr)
            return problem(InferctlError("an internal error; it was logged"), call)

    async def _pass_on(self, call: Call, send: Send) -> Reply:
        """Everything else; the reply is what FastAPI sent, without its body."""
        status = 500

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *call.headers()]
            await send(message)

        call.scope["state"] = {"call": call}
        await self._rest(call.scope, call.receive, send_with_headers)
        return Reply(status, b"", "ok" if status < 400 else "error")

    def _count(self, call: Call, reply: Reply) -> None:
        if call.model:
            self._block.cell("inference_requests_total", call.model, reply.outcome).add()
            self._models[call.model].latency_seconds.observe(call.elapsed_ms / 1000)


def _is_predict(path: str) -> bool:
    return path == PREDICT or (
        path.startswith("/models/") and path.endswith(PREDICT) and path.count("/") == 3
    )


def build_rest(
    models: Mapping[str, ServedModel], default: ServedModel | None, state: State,
    exposition: Exposition, *, docs: bool,
) -> FastAPI:  # fmt: skip
    """FastAPI with every route but the hot ones, and the document of all of them."""
    rest = FastAPI(
        title="inferctl",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if docs else None,
    )
    _add_state_routes(rest, state, exposition)
    _add_model_routes(rest, models)
    rest.add_exception_handler(HTTPException, _http_problem)
    rest.add_exception_handler(InferctlError, _our_problem)
    if docs:
        add_docs(rest)
        document = add_predict_paths(rest.openapi(), list(models.values()), default)
        rest.openapi = lambda: document  # type: ignore[method-assign] # FastAPI's documented way
    return rest


def _add_state_routes(rest: FastAPI, state: State, exposition: Exposition) -> None:
    @rest.get("/livez", tags=["state"], summary="200 while the process answers")
    async def livez() -> dict[str, bool]:
        return {"live": True}

    @rest.get("/readyz", tags=["state"], summary="200 when every model is warm, else 503")
    async def readyz(response: Response) -> dict[str, bool]:
        response.status_code = 200 if state.ready else 503
        return {"ready": state.ready}

    @rest.get("/health", tags=["state"], summary="the state in full")
    async def health() -> Health:
        return state.health()

    @rest.get("/metrics", tags=["state"], summary="Prometheus text", response_class=Response)
    async def metrics() -> Response:
        return Response(exposition.render(), media_type=CONTENT_TYPE.decode("ascii"))


def _add_model_routes(rest: FastAPI, models: Mapping[str, ServedModel]) -> None:
    @rest.get("/models", tags=["models"], summary="what is served")
    async def list_models() -> dict[str, list[dict[str, Any]]]:
        return {"models": [model.describe() for model in models.values()]}

    @rest.get("/models/{name}", tags=["models"], summary="one model")
    async def get_model(name: str) -> dict[str, Any]:
        if name not in models:
            raise NotFound("no such model", hint="GET /models lists them")
        return models[name].describe()


async def _our_problem(request: Request, error: Exception) -> Response:
    reply = problem(_as_ours(error), request.scope["state"]["call"])
    return Response(
        reply.body,
        reply.status,
        {key.decode(): value.decode() for key, value in reply.headers},
        media_type=reply.content_type.decode("ascii"),
    )


_http_problem = _our_problem


def _as_ours(error: Exception) -> InferctlError:
    """FastAPI knows two errors of its own here: no such path, and not this method."""
    if isinstance(error, InferctlError):
        return error
    if isinstance(error, HTTPException) and error.status_code == 405:
        return MethodNotAllowed("this path does not take this method")
    return NotFound("no such path", hint="/docs lists them")
