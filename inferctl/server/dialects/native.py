"""Our own dialect: the task's JSON, or a raw body with its options in the query."""

from __future__ import annotations

import re
from functools import partial
from typing import ClassVar

import orjson

from inferctl.errors import InferctlError
from inferctl.refusals import Unprocessable, UnsupportedMedia
from inferctl.server.call import OK, Call, Reply, as_ms, problem
from inferctl.server.dialects.dialect import Dialect, Form
from inferctl.server.served import ServedModel
from inferctl.tasks.base import JSON, Answer, Task


class Native(Dialect):
    """`POST /predict` and `POST /models/{name}/predict`."""

    name: ClassVar[str] = "native"
    pattern: ClassVar[re.Pattern[str]] = re.compile(r"(?:/models/[^/]*)?/predict")

    def paths(self, model: str, version: str) -> tuple[str, ...]:
        """One by name; the default model has another."""
        return (f"/models/{model}/predict",)

    def form(self, call: Call, model: ServedModel) -> Form:
        """JSON, or one of the task's own content types. Raises RequestError."""
        task = model.task
        media_type = call.media_type()
        if media_type != JSON and media_type not in task.media_types:
            allowed = ", ".join((JSON, *task.media_types))
            raise UnsupportedMedia("this content type is not taken", hint=f"use {allowed}")
        query = call.query()
        for choice in ("model", "version"):  # the route led to it
            query.pop(choice, "")
        form = NativeForm(task)
        if media_type != JSON:
            form.read = partial(task.read_raw, query=query)  # one item
        elif query:
            raise Unprocessable("options of a JSON request go into its body", hint="see /docs")
        return form

    def problem(self, error: InferctlError, call: Call) -> Reply:
        """RFC 9457."""
        return problem(error, call)


class NativeForm(Form):
    """A body is an item of the task, or `{"items": [...]}`.

    The answer is the task's, with times and the model's name.
    """

    __slots__ = ()

    def __init__(self, task: Task) -> None:
        self.off_loop = task.decodes_off_loop
        self.read = task.read_json
        self.preprocess, self.postprocess = task.preprocess, task.postprocess

    def reply(self, answer: Answer, call: Call, run_s: float, now_s: float) -> Reply:
        """As JSON."""
        answer["inference_ms"] = as_ms(run_s)
        answer["latency_ms"] = as_ms(now_s - call.begun_s)
        answer["model"] = call.model
        answer["version"] = call.version
        return Reply(200, orjson.dumps(answer))

    def join(self, replies: list[Reply], call: Call, now_s: float) -> Reply:
        """The answers in the items' order, problems in their places.

        When all have the same problem, it is the request's.
        """
        first = replies[0]
        if first.outcome != OK and all(reply.outcome == first.outcome for reply in replies):
            return first
        rest = orjson.dumps(
            {
                "latency_ms": as_ms(now_s - call.begun_s),
                "model": call.model,
                "version": call.version,
            }
        )
        items = b",".join(reply.body for reply in replies)
        return Reply(200, b'{"items":[%b],%b' % (items, rest[1:]))
