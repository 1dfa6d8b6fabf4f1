"""Errors as the protocols of other servers have them: `{"error": text}`."""

from __future__ import annotations

import orjson

from inferctl.errors import InferctlError
from inferctl.refusals import TooLarge, Unprocessable, UnsupportedMedia
from inferctl.server.call import Call, Reply, advice, problem

PLAIN_PATHS = ("/v1", "/v2")
# What a client did wrong is 400 there, whatever it was.
BAD_REQUEST = 400


def plain_error(error: InferctlError, call: Call) -> Reply:
    """Write an error with what to do about it, from our own texts alone."""
    call.outcome = error.code
    is_bad = isinstance(error, TooLarge | UnsupportedMedia | Unprocessable)
    status = BAD_REQUEST if is_bad else error.status
    return Reply(status, orjson.dumps({"error": str(error)}), error.code, extra=advice(error))


def plain_row(reply: Reply, place: str) -> Reply:
    """An error of one of several rows as the whole request's, with its place."""
    text = f"{place}: {orjson.loads(reply.body)['error']}"
    return Reply(reply.status, orjson.dumps({"error": text}), reply.outcome, extra=reply.extra)


def problem_of(error: InferctlError, call: Call) -> Reply:
    """Write an error as the clients of its path understand it."""
    write = plain_error if call.path.startswith(PLAIN_PATHS) else problem
    return write(error, call)
