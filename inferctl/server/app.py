"""The ASGI application: what the protocol does not answer itself.

That is every route of FastAPI, and the predict requests that are out of the ordinary.
Every answer, an error too, gets its request id and timings, and is logged.
"""

from __future__ import annotations

import sys
import time
import traceback

from fastapi import FastAPI

from inferctl.arena.routes import route_of
from inferctl.errors import InferctlError
from inferctl.refusals import RequestError, RequestTimeout
from inferctl.server.asgi import Message, Receive, Scope, Send
from inferctl.server.call import Call, Headers, Reply, as_headers
from inferctl.server.logs import RequestLog
from inferctl.server.predict import Fault, Predict
from inferctl.server.rest import Voice
from inferctl.server.tally import outcome_of
from inferctl.server.v2 import PROBES

# Probes, scrapes and the page come every few seconds for ever: no requests worth a log line.
UNLOGGED = frozenset(("/livez", "/readyz", "/health", "/metrics", *PROBES))


class App:
    """The worker's ASGI application."""

    def __init__(self, predict: Predict, rest: FastAPI, voice: Voice, log: RequestLog) -> None:
        self.predict = predict
        self._access = predict.access
        self._rest = rest
        self._voice = voice
        self._log = log
        self._traces = predict.work.traces
        self._tally = predict.work.tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        fields = dict(scope["headers"])
        call = Call(scope["method"], scope["path"], scope["query_string"], fields)
        state = scope.get("state", {})
        predicts = self.predict.is_predict(call.path)
        refusal = state.get("refusal") or self._check(call, scope["headers"], predicts=predicts)
        if refusal:
            await self._send(self.predict.refuse(refusal, call), call, send)
            return
        if predicts:
            await self._answer(call, receive, send, state.get("fault"))
            return
        reply = await self._pass_on(call, scope, receive, send)
        if call.path not in UNLOGGED:
            if self._traces is not None:
                self._traces.record(call, reply)
            self._log.record(call, reply)

    def _check(self, call: Call, headers: Headers, *, predicts: bool) -> RequestError | None:
        """Why a request may not be sent by whoever sends it; its key, if it may."""
        try:
            call.key = self._access.check(call.method, call.path, headers)
            self._access.permit(call.key, call.path, predicts=predicts)
        except RequestError as error:
            return error
        return None

    async def _answer(
        self, call: Call, receive: Receive, send: Send, fault: Fault | None = None
    ) -> None:
        try:
            reply = await self.predict.over_asgi(call, receive, fault)
        except InferctlError as error:
            reply = self.predict.refuse(error, call)
        await self._send(reply, call, send)

    async def _send(self, reply: Reply, call: Call, send: Send) -> None:
        headers = as_headers(reply.head(call))
        is_late = reply.status == RequestTimeout.status
        if not call.body_received and (is_late or not call.leaves_little()):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _pass_on(self, call: Call, scope: Scope, receive: Receive, send: Send) -> Reply:
        """Everything else; the reply is what FastAPI sent, without its body."""
        sent: list[Reply] = []

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent.append(self._account(call, scope, message["status"]))
                call.end(time.monotonic())
                message["headers"] = [*message["headers"], *as_headers(call.head())]
            await send(message)

        scope["state"] = {"call": call, "voice": self._voice}
        try:
            await self._rest(scope, receive, send_with_headers)
        except Exception:  # noqa: BLE001 - the outermost loop: it was answered, and raised again
            traceback.print_exc(file=sys.stderr)
        return sent[0] if sent else self._account(call, scope, InferctlError.status)

    def _account(self, call: Call, scope: Scope, status: int) -> Reply:
        """Count an answer, before the client can know of it."""
        reply = Reply(status, b"", outcome_of(status, call.outcome))
        call.route = route_of(getattr(scope.get("route"), "path", ""))
        self._tally.count(call.route, reply.outcome)
        return reply
