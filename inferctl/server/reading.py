"""How a predict request's body is read, from what its head says."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from inferctl.errors import NotFound, Unprocessable, UnsupportedMedia
from inferctl.server.call import Call
from inferctl.server.served import ServedModel
from inferctl.tasks.base import JSON, Body

# Makes a body the item that the model's task preprocesses. Raises RequestError and below.
Read = Callable[[Body], Any]


def reader(call: Call, model: ServedModel) -> Read:
    """The way to read a body of this form. Raises RequestError for a form that is not taken."""
    task = model.task
    media_type = call.media_type()
    if media_type != JSON and media_type not in task.media_types:
        allowed = ", ".join((JSON, *task.media_types))
        raise UnsupportedMedia("this content type is not taken", hint=f"use {allowed}")
    query = call.query()
    version = query.pop("version", "")
    if version not in ("", str(model.version)):
        raise NotFound("this version is not served", hint="GET /models lists them")
    if media_type != JSON:
        return partial(task.read_raw, query=query)
    if query:
        raise Unprocessable("options of a JSON request go into its body", hint="see /docs")
    return task.read_json
