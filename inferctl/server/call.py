"""One HTTP request while it is answered, and what is sent back."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import orjson

from inferctl.arena.routes import PREDICT
from inferctl.errors import InferctlError
from inferctl.refusals import (
    Conflict,
    MethodNotAllowed,
    Overloaded,
    RequestError,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from inferctl.server.traceparent import Trace, trace_of

if TYPE_CHECKING:
    from inferctl.server.access import Key

Headers = list[tuple[bytes, bytes]]
# By lower-case name, the last of each.
Fields = Mapping[bytes, bytes]

REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
PROBLEM_JSON = b"application/problem+json"
CHARSETS = (b"utf-8", b"utf8", b"us-ascii")
# A browser asks the person for a password, which is the key, if the first of them is Basic.
CHALLENGE = b'www-authenticate: Basic realm="inferctl", Bearer realm="inferctl"\r\n'
OK = "ok"
BUG = "an internal error; it was logged"

# The largest body that is read though its request was answered before.
SWALLOWED_BYTES = 256 * 1024

# The phases of a predict request. How many of them it came through, in this order, decides how
# its timings are written.
PHASES = ("decode", "queue", "inference", "postprocess")
TIMINGS = tuple(b"%.3f " * (reached + 1) for reached in range(len(PHASES) + 1))
HEAD_LINES = tuple(
    b"x-request-id: %b\r\nserver-timing: "
    + b"".join(b"%b;dur=%%b, " % phase.encode() for phase in PHASES[:reached])
    + b"total;dur=%b\r\n"
    for reached in range(len(PHASES) + 1)
)


class RequestIds:
    """An id must be unique, not secret: the process' own random half, and a number.

    A fork is a process of its own.
    """

    def __init__(self) -> None:
        self._numbers = count()
        self._renew()
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._process = secrets.token_hex(4).encode("ascii")

    def next(self) -> bytes:
        """An id that no other request has."""
        return b"%b%08x" % (self._process, next(self._numbers))


_ids = RequestIds()


class Call:
    """A request: what came in, and what the log and the metrics need to know of it.

    `key` is the API key that it came with, where keys are asked for, and `trace` the caller's
    trace, if it names one, or its own. One that was drawn for it and is not kept is its
    `unkept_trace_id`: the log is sampled by the same digits. `route` is what it is counted by.
    `rows` are what it became, `shape` is what it was, and `batch_rows` are those of the batch it
    ran in, the largest of several. Traces know the `parts` that it had, and when, on the monotonic
    clock, it was submitted, at `submitted_s`, and its `batches` were started.
    `outcome` is the code of the problem that was sent, if one was. `phases_ms` are the durations of
    the PHASES it came through. Once it was answered, at `ended_s` on the monotonic clock,
    `total_ms` is its own duration, and `timings` are all of these as they are written.
    """

    # What most requests never change costs them nothing on the class.
    body_bytes = 0
    body_received = False
    model = ""
    version = 0
    key: Key | None = None
    trace: Trace | None = None
    unkept_trace_id = b""
    route = PREDICT
    rows = batch_rows = 0
    shape = b""
    parts: Sequence[Call] = ()
    submitted_s = 0.0
    batches: Sequence[float] = ()
    outcome = InferctlError.code
    ended_s = 0.0
    total_ms = 0.0
    timings: Sequence[bytes] = (b"0.000",)

    def __init__(self, method: str, path: str, query_string: bytes, fields: Fields) -> None:
        self.begun_s = time.monotonic()
        self.method = method
        self.path = path
        self.query_string = query_string
        self.fields = fields
        self.phases_ms: list[float] = []
        given = fields.get(b"x-request-id")
        if given is not None and REQUEST_ID.fullmatch(given):
            self.request_id = given
        else:
            self.request_id = _ids.next()
        traceparent = fields.get(b"traceparent")
        if traceparent is not None:
            self.trace = trace_of(traceparent)

    def part(self) -> Call:
        """A call for a part of it: the same request, with durations of its own."""
        part = Call.__new__(Call)  # what is in its head is known
        part.__dict__.update(self.__dict__, phases_ms=[])
        return part

    def gather(self, parts: Sequence[Call]) -> None:
        """Take over what became of its parts: all their rows, the phases of the last to end."""
        self.parts = parts
        self.rows = sum(part.rows for part in parts)
        self.batch_rows = max(part.batch_rows for part in parts)
        last = max(parts, key=lambda part: part.ended_s)
        self.phases_ms, self.shape = last.phases_ms, last.shape

    def leaves_little(self) -> bool:
        """Whether so little of its body can be left that it is read to be thrown away.

        A new connection would cost more, both sides. Who waits for `100 Continue` may send none.
        """
        fields = self.fields
        return (
            announced_bytes(fields) <= SWALLOWED_BYTES
            and b"transfer-encoding" not in fields
            and b"expect" not in fields
        )

    def query(self) -> dict[str, str]:
        """The query's parameters, the last of each name. Raises RequestError."""
        return query_of(self.query_string)

    def refuse_encoded_body(self) -> None:
        """Raise UnsupportedMedia for a compressed one."""
        encoding = self.fields.get(b"content-encoding")
        if encoding is not None and encoding.lower() != b"identity":
            raise UnsupportedMedia("compressed bodies are not taken", hint="send it as it is")

    def media_type(self) -> str:
        """The content type without its parameters; refuses encoded bodies, and other charsets."""
        self.refuse_encoded_body()
        kind, _, parameters = self.fields.get(b"content-type", b"").lower().partition(b";")
        if b"charset" in parameters and not any(name in parameters for name in CHARSETS):
            raise UnsupportedMedia("this charset is not taken", hint="send UTF-8")
        return kind.strip().decode("latin-1")

    def end(self, now_s: float) -> None:
        """The answer is ready: its durations are what every account of it says."""
        phases_ms = self.phases_ms
        self.ended_s = now_s
        self.total_ms = total_ms = (now_s - self.begun_s) * 1000
        self.timings = (TIMINGS[len(phases_ms)] % (*phases_ms, total_ms)).split()

    def head(self) -> bytes:
        """The header lines that every answer carries."""
        return HEAD_LINES[len(self.timings) - 1] % (self.request_id, *self.timings)


def query_of(query_string: bytes) -> dict[str, str]:
    """The parameters of a query, the last of each name. Raises RequestError."""
    if not query_string:
        return {}
    try:
        text = query_string.decode("ascii")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=32))
    except ValueError:
        raise RequestError("the query string cannot be parsed") from None


def as_ms(seconds: float) -> float:
    """A duration in ms, to three digits."""
    return int(seconds * 1e6) / 1e3


def announced_bytes(fields: Fields) -> int:
    """The body's length as announced; 0 where it is not."""
    announced = fields.get(b"content-length", b"").strip()
    return int(announced) if announced.isdigit() else 0


@dataclass(slots=True)
class Reply:
    """A complete answer; `outcome` is its name in metrics and log, `extra` its own header lines."""

    status: int
    body: bytes
    outcome: str = OK
    content_type: bytes = b"application/json"
    extra: bytes = b""

    def head(self, call: Call) -> bytes:
        """All header lines of the answer but those of the connection."""
        return b"content-type: %b\r\ncontent-length: %d\r\n%b%b" % (
            self.content_type, len(self.body), self.extra, call.head(),
        )  # fmt: skip


def as_headers(head: bytes) -> Headers:
    """Header lines as ASGI wants them."""
    pairs = (line.partition(b": ") for line in head.splitlines())
    return [(name, value) for name, _, value in pairs]


def problem(error: InferctlError, call: Call) -> Reply:
    """An error as RFC 9457 `application/problem+json`, from our own texts alone."""
    call.outcome = error.code
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": error.code.replace("_", " "),
        "status": error.status,
        "code": error.code,
        "detail": error.what,
        "request_id": call.request_id.decode("ascii"),
    }
    if error.hint:
        content["hint"] = error.hint
    return Reply(error.status, orjson.dumps(content), error.code, PROBLEM_JSON, advice(error))


def retry_after(after_s: float) -> bytes:
    """The header lines of an answer that will be another one later."""
    after_ms = max(1, round(after_s * 1000))
    # The first is in seconds, and whole ones; clients that know the second prefer it.
    return b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (-(-after_ms // 1000), after_ms)


def advice(error: InferctlError) -> bytes:
    """The header line of an error that says what to do; most have none."""
    if isinstance(error, Overloaded | Unavailable):
        return retry_after(error.retry_after_s)
    if isinstance(error, Conflict):
        return retry_after(error.retry_after_s) if error.retry_after_s else b""
    if isinstance(error, MethodNotAllowed):
        return b"allow: %b\r\n" % error.allow.encode("ascii")
    if isinstance(error, Unauthorized):
        return CHALLENGE
    return b""
