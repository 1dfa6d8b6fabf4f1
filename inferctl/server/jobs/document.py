"""What the API's document says of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inferctl.arena.routes import JOBS
from inferctl.jobs.job import JOB_ID, STATES
from inferctl.server.jobs.asked import LINES, MAX_KEY_CHARS
from inferctl.server.jobs.told import JobList, JobStatus
from inferctl.server.offer import Offer
from inferctl.server.openapi import PROBLEM, PROBLEM_STATUSES, Document
from inferctl.tasks.base import JSON

Operation = dict[str, Any]

USUAL_LIMIT, MAX_LIMIT = 50, 1000
MAX_FIRST = 999_999_999

OWN_PROBLEMS = {
    "404": "no such job",
    "409": "not in the state that the job is in",
    "410": "it expired",
    "422": "a parameter out of range",
    "503": "the job store cannot be used now, or the service ends",
}
PREFER: Document = {
    "name": "Prefer",
    "in": "header",
    "description": "respond-async makes it a job, which answers what this would have",
    "schema": {"type": "string"},
}


def _header(description: str, kind: str = "string") -> Document:
    return {"description": description, "schema": {"type": kind}}


LATER = _header("whole seconds until it is of use to ask again", "integer")
STATE = {"X-Job-State": _header("the state of the job")}


def _parameter(name: str, where: str, description: str, **schema: Any) -> Document:
    return {"name": name, "in": where, "description": description, "schema": schema}


def _problems(*statuses: str, own: bool = True) -> dict[int | str, Document]:
    texts = PROBLEM_STATUSES | (OWN_PROBLEMS if own else {})
    return {int(status): {"description": texts[status], "content": PROBLEM} for status in statuses}


_ITEM = {"type": "object", "description": "the JSON of one predict request"}
_SUBMISSION = {
    "type": "object",
    "properties": {
        "model": {"type": "string", "description": "the default model, if it is not given"},
        "version": {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        "item": _ITEM,
        "items": {"type": "array", "items": _ITEM, "minItems": 1},
    },
    "oneOf": [{"required": ["item"]}, {"required": ["items"]}],
    "additionalProperties": False,
}

SUBMIT: Operation = {
    "summary": "ask now, fetch the answer later",
    "responses": {
        202: {
            "model": JobStatus,
            "description": "it is kept, and will be done",
            "headers": {
                "Location": _header("where its status is"),
                "Retry-After": LATER,
                "Idempotency-Replayed": _header("true where the key had this job already"),
            },
        },
        **_problems("400", "404", "408", "413", "415", "422", "429", own=False),
        **_problems("503"),
    },
    "openapi_extra": {
        "parameters": [
            _parameter(
                "Idempotency-Key", "header",
                "who asks again with the same key gets the same job",
                type="string", minLength=1, maxLength=MAX_KEY_CHARS, pattern=r"^[!-~]+$",
            ),
            _parameter("model", "query", "of a body that is not JSON", type="string"),
            _parameter("version", "query", "of a body that is not JSON", type="string"),
        ],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _SUBMISSION},
                LINES: {"schema": {"type": "string", "description": "an item a line"}},
            },
        },
    },
}  # fmt: skip
LIST: Operation = {
    "summary": "the jobs of this API key, the newest first",
    "responses": {200: {"model": JobList}, **_problems("400", "422", "503")},
    "openapi_extra": {
        "parameters": [
            {
                "name": "state",
                "in": "query",
                "style": "form",
                "explode": False,
                "schema": {"type": "array", "items": {"enum": [*STATES]}, "minItems": 1},
            },
            _parameter(
                "limit", "query", f"{USUAL_LIMIT} if it is not given",
                type="integer", minimum=1, maximum=MAX_LIMIT,
            ),
            _parameter("after", "query", "`next` of the page before", type="string"),
        ]
    },
}  # fmt: skip
_CACHED = {"ETag": _header("another one after each change"), "Retry-After": LATER}
SHOW: Operation = {
    "summary": "what became of a job",
    "responses": {
        200: {"model": JobStatus, "headers": _CACHED},
        304: {"description": "what If-None-Match names"},
        **_problems("404", "410", "503"),
    },
}
CANCEL: Operation = {
    "summary": "cancel a job that waits, or is being done",
    "responses": {
        200: {"model": JobStatus, "headers": _CACHED},
        **_problems("404", "409", "410", "503"),
    },
}
RESULT: Operation = {
    "summary": "what it came to: what a predict request is answered, or a line for each item",
    "responses": {
        200: {
            "description": "of one item its answer; of several those lines that are there",
            "content": {
                JSON: {"schema": {"type": "object"}},
                LINES: {"schema": {"type": "string"}},
            },
            "headers": STATE,
        },
        **_problems("400", "408", "413", "415", "429", "500", "504", own=False),
        **_problems("404", "409", "410", "422", "503"),
    },
    "openapi_extra": {
        "parameters": [
            _parameter(
                "first", "query", "the number of the first item, of several",
                type="integer", minimum=0, maximum=MAX_FIRST,
            )
        ]
    },
}  # fmt: skip
ID = {"pattern": f"^{JOB_ID.pattern}$"}


def add_deferral(document: Document, offers: Sequence[Offer]) -> None:
    """Say what depends on the models: the types of raw items, and that predictions may be jobs."""
    paths = document["paths"]
    if JOBS not in paths:
        return
    submit = paths[JOBS]["post"]
    raw = {"schema": {"type": "string", "format": "binary"}}
    for offer in offers:
        for media_type in offer.task.media_types:
            submit["requestBody"]["content"].setdefault(media_type, raw)
    for path in ("/predict", *(f"/models/{offer.name}/predict" for offer in offers)):
        if path in paths:
            predict = paths[path]["post"]
            predict["parameters"] = [*predict["parameters"], PREFER]
            predict["responses"]["202"] = submit["responses"]["202"]
