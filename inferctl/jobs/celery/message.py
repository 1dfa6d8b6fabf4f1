"""What comes in: whoever can write to Redis can write anything there."""

from __future__ import annotations

import json
from typing import Any

from inferctl.jobs.celery.app import TASK
from inferctl.jobs.job import JOB_ID

# Ours has about 130.
MAX_BODY_BYTES = 1024
# What would make Celery do something else than this task once, now.
UNWANTED = ("eta", "expires", "timelimit", "group", "retries")


def job_id_of(message: Any) -> str | None:
    """The id that a message of kombu's carries; None if it is anything but one of ours."""
    headers, body = message.headers, message.body
    if not isinstance(headers, dict) or headers.get("task") != TASK:
        return None
    if not isinstance(headers.get("id"), str) or any(_is_set(headers.get(it)) for it in UNWANTED):
        return None
    if message.content_type != "application/json" or message.content_encoding != "utf-8":
        return None
    if not isinstance(body, bytes | str) or len(body) > MAX_BODY_BYTES:
        return None
    try:
        arguments, named, embedded = json.loads(body)
        (job_id,) = arguments
    except (ValueError, TypeError, RecursionError):
        return None
    if named or not isinstance(embedded, dict) or any(embedded.values()):
        return None
    return job_id if isinstance(job_id, str) and JOB_ID.fullmatch(job_id) else None


def _is_set(header: object) -> bool:
    """Celery writes a limit of time as a pair."""
    return any(header) if isinstance(header, list) else bool(header)
