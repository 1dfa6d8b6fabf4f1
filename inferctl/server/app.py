"""The ASGI application: what the protocol does not answer itself.

That is every route of FastAPI, and the predict requests that are out of the ordinary.
Every answer, an error too, gets its request id and timings, and is logged.
"""

from __future__ import annotations

import sys
import time
import traceback

from fastapi import FastAPI

from inferctl.arena.routes import JOBS, route_of
from inferctl.errors import InferctlError
from inferctl.refusals import RequestError, RequestTimeout
from inferctl.server.asgi import CutShort, Message, Receive, Scope, Send
from inferctl.server.call import Call, Headers, Reply, as_headers
from inferctl.server.jobs.asked import refuse_several_keys
from inferctl.server.jobs.submissions import Submissions
from inferctl.server.logs import RequestLog
from inferctl.server.predict import Fault, Predict
from inferctl.server.rest import Voice
from inferctl.server.tally import outcome_of
from inferctl.server.v2 import PROBES

# Probes, scrapes and the page come every few seconds for ever: no requests worth a log line.
UNLOGGED = frozenset(("/livez", "/readyz", "/health", "/metrics", *PROBES))

CACHE_CONTROL = b"cache-control"
# What an API key comes in.
KEY_FIELDS = b"authorization, x-api-key"


class App:
    """The worker's ASGI application."""

    def __init__(self, predict: Predict, rest: FastAPI, voice: Voice, log: RequestLog) -> None:
        self.predict = predict
        self._access = predict.access
        self._rest = rest
        self._voice = voice
        self._jobs: Submissions | None = None
        if voice.jobs is not None:
            self._jobs = Submissions(voice.jobs, predict, voice.catalogue, voice.state)
            predict.defers = True
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
            await self._answer(call, scope["headers"], receive, send, state.get("fault"))
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
            submits = call.method == "POST" and call.path == JOBS
            self._access.permit(call.key, call.path, predicts=predicts or submits)
        except RequestError as error:
            return error
        return None

    async def _answer(
        self, call: Call, headers: Headers, receive: Receive, send: Send, fault: Fault | None
    ) -> None:
        try:
            posts = call.method == "POST"
            if self._jobs and posts and self.predict.is_deferred(call.path, headers):
                refuse_several_keys(headers)
                reply = await self._jobs.defer(call, receive, fault)
            else:
                reply = await self.predict.over_asgi(call, receive, fault)
        except InferctlError as error:
            reply = self.predict.refuse(error, call)
        await self._send(reply, call, send)

    async def _send(self, reply: Reply, call: Call, send: Send) -> None:
        headers = [*as_headers(reply.head(call)), *_last_words(call, reply.status)]
        headers += _privacy(call, headers)
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _pass_on(self, call: Call, scope: Scope, receive: Receive, send: Send) -> Reply:
        """Everything else; the reply is what FastAPI sent, without its body."""
        sent: list[Reply] = []

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent.append(self._account(call, scope, message["status"]))
                call.end(time.monotonic())
                takes_bodies = call.path == JOBS
                end = _last_words(call, message["status"]) if takes_bodies else []
                privacy = _privacy(call, message["headers"])
                headers = [*message["headers"], *as_headers(call.head()), *end, *privacy]
                message["headers"] = headers
            await send(message)

        fault = scope.get("state", {}).get("fault")
        scope["state"] = {
            "call": call, "voice": self._voice, "jobs": self._jobs, "fault": fault
        }  # fmt: skip
        try:
            await self._rest(scope, receive, send_with_headers)
        except CutShort:
            pass  # whoever serves it sees that it has no end
        except Exception:  # noqa: BLE001 - the outermost loop: it was answered, and raised again
            traceback.print_exc(file=sys.stderr)
        return sent[0] if sent else self._account(call, scope, InferctlError.status)

    def _account(self, call: Call, scope: Scope, status: int) -> Reply:
        """Count an answer, before the client can know of it."""
        reply = Reply(status, b"", outcome_of(status, call.outcome))
        call.route = route_of(getattr(scope.get("route"), "path", ""))
        self._tally.count(call.route, reply.outcome)
        return reply


def _privacy(call: Call, headers: Headers) -> Headers:
    """What keeps an answer about jobs out of caches; a status says itself how it may be kept.

    A 404 and a 410 would be kept without it, and what one key is told another is not.
    """
    if call.path != JOBS and not call.path.startswith(f"{JOBS}/"):
        return []
    is_status = any(name == CACHE_CONTROL for name, _ in headers)
    return [(b"vary", KEY_FIELDS), *([] if is_status else [(CACHE_CONTROL, b"no-store")])]


def _last_words(call: Call, status: int) -> Headers:
    """What an answer says that leaves so much of its request's body unread that it is the last."""
    is_late = status == RequestTimeout.status
    ends = not call.body_received and (is_late or not call.leaves_little())
    return [(b"connection", b"close")] if ends else []
