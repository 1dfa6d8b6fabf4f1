"""The ASGI application: predict paths at once, everything else through FastAPI.

Every answer, an error too, gets its request id and timings here, is counted and logged.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping

from fastapi import FastAPI

from inferctl.arena.ledger import Block
from inferctl.errors import InferctlError, MethodNotAllowed
from inferctl.server.call import BUG, Call, Message, Receive, Reply, Scope, Send, problem
from inferctl.server.logs import RequestLog
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
            # Before the client can know: whoever has an answer finds it counted.
            self._count(call, reply)
            await reply.send(call, send)
        else:
            reply = await self._pass_on(call, send)
        if call.path not in UNLOGGED:
            self._log.record(call, reply)

    async def _answer(self, call: Call) -> Reply:
        """The predict path; an error becomes its problem."""
        try:
            if call.scope["method"] != "POST":
                raise MethodNotAllowed("predict takes POST only", allow="POST")
            return await self._predict(call)
        except InferctlError as error:
            return problem(error, call)
        except Exception:  # noqa: BLE001 - the outermost loop: a client gets an answer to a bug too
            traceback.print_exc(file=sys.stderr)
            return problem(InferctlError(BUG), call)

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
        try:
            await self._rest(call.scope, call.receive, send_with_headers)
        except Exception:  # noqa: BLE001 - the outermost loop: it was answered, and raised again
            traceback.print_exc(file=sys.stderr)
        return Reply(status, b"", call.outcome if status >= 400 else "ok")

    def _count(self, call: Call, reply: Reply) -> None:
        if call.model:
            self._block.cell("inference_requests_total", call.model, reply.outcome).add()
            self._models[call.model].latency_seconds.observe(call.elapsed_ms / 1000)


def _is_predict(path: str) -> bool:
    return path == PREDICT or (
        path.startswith("/models/") and path.endswith(PREDICT) and path.count("/") == 3
    )
