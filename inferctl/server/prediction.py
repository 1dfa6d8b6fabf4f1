"""The hot path: one predict request, from its body to its answer.

It is worked off in steps, and each is called by what lets it go on: the body is complete
(`complete`), a place at the gate is free (`_let_in`), the input is decoded (`_submit`), the engine
gave its verdict (`row_done`). No task, no future: for a small model they would cost more than the
steps. Whatever goes wrong in a step, or between two, ends the request in `_finish`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial, wraps

import orjson

from inferctl.errors import (
    ClientGone,
    DeadlineExceeded,
    InferctlError,
    RequestTimeout,
    TooLarge,
    Unavailable,
)
from inferctl.server.call import BUG, Call, Reply, as_ms, problem
from inferctl.server.reading import Read, reader
from inferctl.server.served import ServedModel
from inferctl.server.workplace import Workplace
from inferctl.tasks.base import Body, Prepared

Respond = Callable[[Reply], None]


def step(work: Callable[[Prediction], None]) -> Callable[[Prediction], None]:
    """A step of a request: skipped when it is over already; its error is the request's answer."""

    @wraps(work)
    def guarded(request: Prediction) -> None:
        if request.over:
            return
        try:
            work(request)
        except InferctlError as error:
            request.fail(error)
        except Exception:  # noqa: BLE001 - the outermost loop: a client gets an answer to a bug too
            traceback.print_exc(file=sys.stderr)
            request.fail(InferctlError(BUG))

    return guarded


class Prediction:
    """A request to one model. `respond` is called once, with its answer or its problem."""

    __slots__ = (
        "_call", "_deadline_s", "_decoding", "_held_bytes", "_inside", "_item", "_model", "_parts",
        "_phase_begun_s", "_places", "_prepared", "_read", "_read_on", "_respond", "_slots",
        "_unanswered", "_work", "over", "refusal",
    )  # fmt: skip

    def __init__(
        self, call: Call, model: ServedModel, work: Workplace, respond: Respond,
        read: Read | None = None,
    ) -> None:  # fmt: skip
        self._call, self._model, self._work, self._respond = call, model, work, respond
        self._read = read
        call.model, call.version = model.name, model.version
        self._deadline_s = call.begun_s + work.timeout_s
        self.over = False
        # Why it will fail once its body is here: whoever still sends does not hear it.
        self.refusal: InferctlError | None = None
        self._read_on: Callable[[], None] | None = None
        self._held_bytes = 0
        self._parts: list[Body] = []
        # Rows that were admitted, and have no slots yet.
        self._places = 0
        self._slots: list[int] = []
        self._inside = False
        self._decoding: Future[Prepared] | None = None
        work.timeouts.begin(self, call.begun_s)

    # The request comes in.

    def begin(self, announced_bytes: int) -> None:
        """Its headers are here: refuse what they already rule out."""
        if announced_bytes > self._work.max_body_bytes:
            self._fail_too_large()

    def expect(self, size: int, read_on: Callable[[], None]) -> bool:
        """Most of its body is still to come; whether it may. If not, `read_on` is called when so.

        Until then it has its place in the queue, or is refused, and its body may come to be lost.
        """
        intake = self._work.intake
        if intake.is_open:
            return True
        try:
            self._admit()
        except InferctlError as error:
            self.refusal = error
            return True
        self._read_on = read_on
        intake.wait(size, partial(self._receive, size))
        return False

    def _receive(self, size: int) -> None:
        """There is room for its body; a request that is over passes it on."""
        read_on, self._read_on = self._read_on, None
        self._held_bytes = size
        if self.over or read_on is None:
            self._drop_body()
        else:
            read_on()

    def feed(self, part: bytes) -> None:
        """A part of its body is here."""
        self._parts.append(part)
        self._call.body_bytes += len(part)
        if self._call.body_bytes > self._work.max_body_bytes:
            self._fail_too_large()

    def take(self, body: Body) -> None:
        """Its body is here in one piece, and is not too large."""
        self._parts.append(body)
        self._call.body_bytes = len(body)
        self.complete()

    def fed(self) -> bytes:
        """What was fed of its body, which `take` will bring whole."""
        first = b"".join(self._parts)
        self._parts.clear()
        return first

    def _fail_too_large(self) -> None:
        what = f"the body is larger than {self._work.max_body_bytes} bytes"
        self.fail(TooLarge(what, hint="send a smaller one"))

    @step
    def complete(self) -> None:
        """Its body is complete: admit it, validate it, and let it into the gate."""
        self._call.body_received = True
        if self.refusal:
            raise self.refusal
        if not self._places:
            self._admit()
        parts = self._parts
        read = self._read or reader(self._call, self._model)
        self._item = read(parts[0] if len(parts) == 1 else b"".join(parts))
        parts.clear()
        self._inside = self._model.gate.enter(self._let_in)
        if not self._held_bytes and (self._model.task.decodes_off_loop or not self._inside):
            self._held_bytes = self._call.body_bytes
            self._work.intake.hold(self._held_bytes)
        if self._inside:
            self._prepare()

    def _admit(self) -> None:
        """Take a place in the queue. Raises Overloaded or Unavailable."""
        if not self._work.is_loaded():
            raise Unavailable("the models are still loading", hint="wait for /readyz")
        self._model.admit(1, self._deadline_s)
        self._places = 1

    # It is worked on.

    def _let_in(self) -> None:
        """A place at the gate is free; a request that is over passes it on."""
        self._inside = True
        if self.over:
            self._leave()
        else:
            self._go_on()

    @step
    def _go_on(self) -> None:
        self._prepare()

    def _prepare(self) -> None:
        """Decode or tokenise; long work leaves the event loop."""
        self._phase_begun_s = time.monotonic()
        task = self._model.task
        if not task.decodes_off_loop:
            self._submit(task.preprocess(self._item))
            return
        loop = asyncio.get_running_loop()
        self._decoding = self._work.decoders.submit(task.preprocess, self._item)
        self._decoding.add_done_callback(lambda _: _call_on(loop, self._decoded))

    def _decoded(self) -> None:
        """The decoder is done; it held the place of a request that is over."""
        if self.over:
            self._leave()
        else:
            self._take()

    @step
    def _take(self) -> None:
        if self._decoding:
            decoding, self._decoding = self._decoding, None
            self._submit(decoding.result())

    def _submit(self, prepared: Prepared) -> None:
        """Write the rows into their slots and tell the engine."""
        model = self._model
        took_s = time.monotonic() - self._phase_begun_s
        model.decode_seconds.observe(took_s)
        self._call.phases_ms.append(took_s * 1000)
        self._item = None
        if self._held_bytes:
            self._drop_body()
        self._prepared = prepared
        self._unanswered = prepared.rows
        if prepared.rows > 1:
            model.admit(prepared.rows - 1, self._deadline_s, held=1)
        self._slots, self._places = model.take(prepared.rows), 0
        model.write(self._slots, prepared, self._deadline_s)
        self._work.link.submit(model, self._slots, self)

    # It is answered.

    @step
    def row_done(self) -> None:
        """One of its rows was run; with the last one it is answered."""
        self._unanswered -= 1
        if self._unanswered:
            return
        model, call = self._model, self._call
        queue_s, run_s = model.times(self._slots)
        begun_s = time.monotonic()
        answer = model.task.postprocess(self._prepared.context, model.outputs(self._slots))
        model.queue_seconds.observe(queue_s)
        now_s = time.monotonic()
        call.phases_ms += (queue_s * 1000, run_s * 1000, (now_s - begun_s) * 1000)
        answer["inference_ms"] = as_ms(run_s)
        answer["latency_ms"] = as_ms(now_s - call.begun_s)
        answer["model"] = call.model
        answer["version"] = call.version
        self._finish(Reply(200, orjson.dumps(answer)))

    # It ends without an answer.

    def fail(self, error: InferctlError) -> None:
        """End it with a problem, unless it is over."""
        if not self.over:
            self._finish(problem(error, self._call))

    def abandon(self) -> None:
        """Its client is gone."""
        received = self._call.body_received
        self.fail(ClientGone(f"the client left while {'waiting' if received else 'sending'}"))

    def expire(self) -> None:
        """Its time is over."""
        if self._call.body_received or self._read_on:
            self.fail(DeadlineExceeded("the deadline passed", hint="retry, or raise it"))
        else:
            self.fail(RequestTimeout("the body did not arrive in time"))

    def _finish(self, reply: Reply) -> None:
        """Give everything back, count, answer, log."""
        self.over = True
        self._work.timeouts.end(self)
        self._parts.clear()
        self._item = None
        if self._held_bytes:
            self._drop_body()
        if self._places:
            self._model.cancel(self._places)
        for slot in self._slots:
            self._work.link.release(self._model, slot)
        if self._decoding:
            self._decoding.cancel()  # `_decoded` comes in any case
        elif self._inside:
            self._leave()
        self._call.end()
        # Before the client can know: whoever has an answer finds it counted.
        self._model.count(reply.outcome, self._call.total_ms / 1000)
        self._respond(reply)
        self._work.log.record(self._call, reply)

    def _drop_body(self) -> None:
        """It is decoded, or not wanted any more."""
        held_bytes, self._held_bytes = self._held_bytes, 0
        self._work.intake.release(held_bytes)

    def _leave(self) -> None:
        self._inside = False
        self._model.gate.leave()


def _call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(callback)
