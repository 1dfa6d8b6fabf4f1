"""What both clients ask about jobs; steps, as those of `inferctl/client/dialogue.py`."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict
from uuid import uuid4

import orjson

from inferctl.client.dialogue import REQUEST_ID_BYTES, chosen_of, encoding
from inferctl.client.errors import InvalidInput
from inferctl.client.exchange import (
    OK,
    Outgoing,
    Patience,
    Reply,
    Steps,
    TimeLeft,
    exchange,
    json_of,
)
from inferctl.client.inputs import JSON, Content, Input, document, is_picture, picture
from inferctl.client.jobs.status import JobStatus, Page, page_of, status_of

NDJSON = "application/x-ndjson"
ACCEPTED, NOT_MODIFIED = 202, 304
# Whoever waits for a job outlives a restart of the server.
RETRIES = 100
KEY = re.compile(r"[\x21-\x7e]{1,255}")
JOB_ID = re.compile(r"[0-9A-Za-z]{1,64}")


class JobOptions(TypedDict, total=False):
    """What may be said of a job, as in `Options`; `timeout_s` is the deadline of handing it in."""

    model: str | None
    version: int | str | None
    top_k: int | None
    confidence_threshold: float | None
    timeout_s: float | None


class JobDialogue:
    """The logic of both clients. What its methods return are steps, which raise ClientError."""

    def __init__(self, timeout_s: float, patience: Patience) -> None:
        self._timeout_s = timeout_s
        self.patience = patience

    def submit(self, x: Input, options: JobOptions, key: str | None) -> Steps[JobStatus]:
        """Hand in one input."""
        key, chosen, named = key_of(key), chosen_of(options), named_of(options)
        if is_picture(x):
            content = yield from encoding(picture, x)
            return (yield from self.hand_in(content, {**chosen, **named}, options, key))
        item = orjson.Fragment(document(x, chosen))
        body = orjson.dumps({**named, "item": item})
        return (yield from self.hand_in(Content(body, JSON), {}, options, key))

    def hand_in(
        self, content: Content, query: Mapping[str, Any], options: JobOptions, key: str
    ) -> Steps[JobStatus]:
        """Ask for a job. However often that is done, the server makes one of it, by its key."""
        request_id = secrets.token_hex(REQUEST_ID_BYTES)
        headers = {
            "content-type": content.content_type,
            "idempotency-key": key,
            "x-request-id": request_id,
        }
        outgoing = Outgoing(
            "POST", "/jobs", request_id, query, headers, content.body,
            is_repeatable=True, accepted=(OK, ACCEPTED),
        )  # fmt: skip
        time_left = TimeLeft(options.get("timeout_s") or self._timeout_s, self.patience.now)
        reply = yield from exchange(outgoing, time_left, self.patience)
        return status_of(json_of(reply, request_id))

    def status(self, job_id: str) -> Steps[JobStatus]:
        """Ask what became of one."""
        return status_of((yield from self._json(Outgoing("GET", path_of(job_id)))))

    def cancel(self, job_id: str) -> Steps[JobStatus]:
        """Ask that it be not done; one that was cancelled before stays so."""
        return status_of((yield from self._json(Outgoing("DELETE", path_of(job_id)))))

    def page(self, state: str | Sequence[str], after: str) -> Steps[Page]:
        """Ask for a part of the list, the newest first; with it comes what asks for the next."""
        states = (state,) if isinstance(state, str) else state
        params = {"state": ",".join(states), "after": after}
        given = {name: value for name, value in params.items() if value}
        return page_of((yield from self._json(Outgoing("GET", "/jobs", params=given))))

    def insist(self, outgoing: Outgoing, left_s: float) -> Steps[Reply]:
        """Ask for as long as one request may take, should the server be away for a while."""
        time_left = TimeLeft(min(left_s, self._timeout_s), self.patience.now)
        # Who wants no retries has none here either.
        patience = replace(self.patience, max_retries=RETRIES * bool(self.patience.max_retries))
        return exchange(replace(outgoing, is_repeatable=True), time_left, patience)

    def _json(self, outgoing: Outgoing) -> Steps[Any]:
        time_left = TimeLeft(self._timeout_s, self.patience.now)
        repeatable = replace(outgoing, is_repeatable=True)
        return json_of((yield from exchange(repeatable, time_left, self.patience)), "")


def key_of(given: str | None) -> str:
    """The idempotency key, made up where none is given. Raises InvalidInput."""
    if given is None:
        return str(uuid4())
    if not KEY.fullmatch(given):
        raise InvalidInput(
            "an idempotency key is 1 to 255 visible ASCII characters", hint="e.g. a UUID"
        )
    return given


def named_of(options: JobOptions) -> dict[str, Any]:
    """The model and version, as far as they are given."""
    given = {"model": options.get("model"), "version": options.get("version")}
    return {name: value for name, value in given.items() if value not in (None, "")}


def path_of(job_id: str, rest: str = "") -> str:
    """Where a job is. Raises InvalidInput for what is no id, and would be another path."""
    if not JOB_ID.fullmatch(job_id):
        raise InvalidInput(f"{job_id!r} is not the id of a job", hint="`inferctl jobs list`")
    return f"/jobs/{job_id}{rest}"
