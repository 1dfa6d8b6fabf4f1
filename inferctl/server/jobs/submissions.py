"""Takes jobs in: a body is received, read as its type says, and left with the store.

Bodies take no more memory than a few of the largest do. What would take more is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar

from inferctl.arena.routes import JOBS
from inferctl.jobs.job import NewJob, Submitted
from inferctl.refusals import (
    RETRY_HINT,
    ClientGone,
    NotFound,
    Overloaded,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)
from inferctl.server.access import Key
from inferctl.server.asgi import Receive
from inferctl.server.call import Call, Reply, announced_bytes
from inferctl.server.catalogue import Catalogue
from inferctl.server.health import State
from inferctl.server.jobs.asked import (
    LINES,
    Asked,
    asked_in_json,
    asked_in_lines,
    asked_in_one,
    chosen_by,
    idempotency_key_of,
)
from inferctl.server.jobs.parts import JobsParts
from inferctl.server.jobs.told import path_of, poll_advice, status_of
from inferctl.server.predict import Fault, Predict
from inferctl.server.prediction import SMALL_BODY_BYTES
from inferctl.server.served import ServedModel
from inferctl.tasks.base import JSON, Body, Task

T = TypeVar("T")
Read = Callable[[Body], Asked]

ACCEPTED = 202
APPLIED = b"preference-applied: respond-async\r\n"
REPLAYED = b"idempotency-replayed: true\r\n"
# Bodies may hold what so many of the largest ones would.
MOST_BODIES = 4


def owner_of(call: Call) -> str:
    """The name of the API key that a request came with, "" where there are none."""
    return call.key.name if call.key else ""


class Submissions:
    """A worker's way of taking jobs in."""

    def __init__(
        self, parts: JobsParts, predict: Predict, catalogue: Catalogue, state: State
    ) -> None:
        self.desk = parts.desk
        self._wake, self._max_items = parts.wake, parts.settings.max_items
        self._predict, self._catalogue, self._state = predict, catalogue, state
        self._work = work = predict.work
        self._held_bytes = 0
        self._one_large_body = asyncio.Lock()
        self._accepted = work.tally.block.cell("inferctl_jobs_total", value="accepted")
        self._duplicates = work.tally.block.cell("inferctl_job_duplicates_total")
        self.cancelled = work.tally.block.cell("inferctl_jobs_total", value="cancelled")

    async def take(self, call: Call, receive: Receive, fault: Fault | None) -> Reply:
        """Answer `POST /jobs`. Raises RequestError."""
        media_type = call.media_type()
        asked = chosen_by(call.query(), media_type)
        if media_type != JSON:
            return await self._submit(call, self._reading(asked), receive, fault)
        if asked.model or asked.version:
            raise Unprocessable("model and version go into the JSON", hint="or send lines")
        read = partial(asked_in_json, max_items=self._max_items)
        return await self._submit(call, read, receive, fault)

    async def defer(self, call: Call, receive: Receive, fault: Fault | None) -> Reply:
        """Answer a request for a prediction that prefers to be a job. Raises RequestError."""
        model, dialect = self._predict.lead(call)
        dialect.form(call, model)  # whether it could be read
        asked = replace(chosen_by(call.query(), call.media_type()), model=model.name)
        read = partial(asked_in_one, asked=asked, task=model.task)
        reply = await self._submit(call, read, receive, fault)
        reply.extra += APPLIED
        call.route = JOBS
        return self._predict.account(reply, call)

    def _reading(self, asked: Asked) -> Read:
        """How a body is read whose model is known. Raises NotFound or UnsupportedMedia."""
        if not asked.model and self._catalogue.default is None:
            # Whoever sent a form by mistake is told that first.
            _check_type(asked, *(model.task for model in self._catalogue.models.values()))
        asked, model = self._served(asked)
        task = model.task
        _check_type(asked, task)
        if asked.content_type == LINES:
            return partial(asked_in_lines, asked=asked, task=task, max_items=self._max_items)
        return partial(asked_in_one, asked=asked, task=task)

    def _served(self, asked: Asked) -> tuple[Asked, ServedModel]:
        """What is asked for, with its model's name, and the model. Raises NotFound."""
        if asked.model:
            return asked, self._catalogue.find(asked.model, asked.version)
        if self._catalogue.default is None:
            raise NotFound("no model is marked as default", hint="name one: GET /models")
        name = self._catalogue.default.name
        return replace(asked, model=name), self._catalogue.find(name, asked.version)

    async def _submit(self, call: Call, read: Read, receive: Receive, fault: Fault | None) -> Reply:
        """Receive the body, and leave what it asks for with the store."""
        idempotency_key = idempotency_key_of(call.fields)
        if self._state.draining:
            raise Unavailable("the service ends, and takes no jobs", hint="ask it again later")
        body = bytearray()
        with _counted_by(call.key):
            try:
                await self._receive(body, call, receive, fault)
                asked, model = self._served(await self._off_loop(body, partial(read, body)))
                call.model, call.version = model.name, model.version
                new = partial(asked.new_job, owner_of(call), idempotency_key)
                submitted = await self._leave(await self._off_loop(body, new), model)
            finally:
                self._held_bytes -= len(body)
        return self._reply(submitted)

    async def _leave(self, new: NewJob, model: ServedModel) -> Submitted:
        try:
            submitted = await self.desk.submit(new)
        except Overloaded as error:
            model.admission.shed.count(error)
            raise
        if submitted.is_new:
            self._accepted.add()
            self._wake()
        else:
            self._duplicates.add()
        return submitted

    def _reply(self, submitted: Submitted) -> Reply:
        job = submitted.job
        location = b"location: %b\r\n" % path_of(job.id).encode("ascii")
        replayed = b"" if submitted.is_new else REPLAYED
        extra = location + poll_advice(job) + replayed
        return Reply(ACCEPTED, status_of(job).written(), extra=extra)

    async def _off_loop(self, body: Body, work: Callable[[], T]) -> T:
        """What takes long for a large body is done by a thread, for one of them at a time."""
        if len(body) <= SMALL_BODY_BYTES:
            return work()
        async with self._one_large_body:
            return await asyncio.get_running_loop().run_in_executor(self._work.decoders, work)

    # The body.

    async def _receive(
        self, body: bytearray, call: Call, receive: Receive, fault: Fault | None
    ) -> None:
        """Fill it. Raises TooLarge, Overloaded, ClientGone, and whatever its `fault` is."""
        announced = announced_bytes(call.fields)
        if announced > self._work.max_body_bytes:
            raise self._work.too_large()
        if self._work.memory_is_short() and not 0 < announced <= SMALL_BODY_BYTES:
            raise _no_room()
        filling = asyncio.ensure_future(self._fill(body, call, receive))

        def give_up(_: Fault) -> None:
            filling.cancel()

        if fault:
            fault.add_done_callback(give_up)
        try:
            await filling
        except asyncio.CancelledError:
            if fault and fault.done():
                raise fault.result() from None
            raise
        finally:
            if fault:
                fault.remove_done_callback(give_up)

    async def _fill(self, body: bytearray, call: Call, receive: Receive) -> None:
        while not call.body_received:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone("the client left while sending")
            part = message.get("body", b"")
            call.body_bytes += len(part)
            if call.body_bytes > self._work.max_body_bytes:
                raise self._work.too_large()
            if self._held_bytes + len(part) > MOST_BODIES * self._work.max_body_bytes:
                raise _no_room()
            self._held_bytes += len(part)
            body += part
            call.body_received = not message.get("more_body", False)


def _check_type(asked: Asked, *tasks: Task) -> None:
    """Raises UnsupportedMedia for a content type that none of these takes."""
    of_tasks = (media_type for task in tasks for media_type in task.media_types)
    allowed = dict.fromkeys((JSON, LINES, *of_tasks))
    if asked.content_type not in allowed:
        raise UnsupportedMedia("this content type is not taken", hint=f"use {', '.join(allowed)}")


def _no_room() -> Overloaded:
    return Overloaded("too much waits in memory", hint=RETRY_HINT, reason="memory")


@contextmanager
def _counted_by(key: Key | None) -> Iterator[None]:
    """A request of this key's quota. Raises Overloaded when it has used it up."""
    if key is None:
        yield
        return
    key.quota.enter(time.monotonic())
    try:
        yield
    finally:
        key.quota.leave()
