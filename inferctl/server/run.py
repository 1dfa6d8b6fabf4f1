"""The hot path: one item on its way through the model.

It is worked off in steps, and each is called by what lets it go on: it was read (`start`), a place
at the gate is free (`_let_in`), the input is decoded (`_submit`), the engine gave its verdict
(`row_done`). No task, no future: for a small model they would cost more than the steps. Whatever
goes wrong in a step, or between two, ends the run in `_finish`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from functools import wraps
from typing import Any, TypeVar, cast

from inferctl.errors import InferctlError
from inferctl.refusals import Unavailable
from inferctl.server.access import Key
from inferctl.server.call import BUG, Call, Reply
from inferctl.server.dialects.dialect import Dialect, Form
from inferctl.server.quotas import Quota
from inferctl.server.served import ServedModel
from inferctl.server.workplace import Workplace
from inferctl.tasks.base import Prepared

Step = TypeVar("Step", bound=Callable[..., None])


def step(work: Step) -> Step:
    """A step of a run: skipped when it is over already; its error is the run's answer."""

    @wraps(work)
    def guarded(run: Run, *given: Any) -> None:
        if run.over:
            return
        try:
            work(run, *given)
        except Exception as error:  # noqa: BLE001 - the outermost loop: a client gets an answer to a bug too
            run.fail_of(error)

    return cast(Step, guarded)


class Run(ABC):
    """An item of one model. `_answer` is called once, with its answer or its problem."""

    __slots__ = (
        "_context", "_decoding", "_held_bytes", "_inside", "_item", "_key_rows", "_phase_begun_s",
        "_places", "_quota", "_slots", "_unanswered", "_waiting_bytes", "bulk", "call",
        "deadline_s", "dialect", "form", "model", "over", "work",
    )  # fmt: skip

    form: Form

    def __init__(self, call: Call, model: ServedModel, dialect: Dialect, work: Workplace) -> None:
        self.call, self.model, self.dialect, self.work = call, model, dialect, work
        call.model, call.version = model.name, model.version
        self.deadline_s = call.begun_s + work.timeout_s
        self.over = self.bulk = False
        # Bytes of its body in memory that the model counts, and the intake, since they wait.
        self._held_bytes = self._waiting_bytes = 0
        self._item: Any = None
        # Rows that were admitted, and have no slots yet.
        self._places = 0
        # Those that count for its API key, and what it must leave when it is answered.
        self._key_rows = 0
        self._quota: Quota | None = None
        self._slots: list[int] = []
        self._inside = False
        self._decoding: Future[Prepared] | None = None

    @abstractmethod
    def _answer(self, reply: Reply) -> None:
        """It is over, and holds nothing any more."""

    # It is worked on.

    def _admit(self, now_s: float, rows: int = 1) -> None:
        """Take places in the queue. Raises Overloaded or Unavailable."""
        if not self.work.is_loaded():
            raise not_loaded()
        if self.call.key is not None:
            self._enter(self.call.key, now_s)
        self._reserve(rows, now_s)
        self._places = rows

    def _enter(self, key: Key, now_s: float) -> None:
        """It counts for its key from now on. Raises Overloaded."""
        if self._quota is None:
            key.quota.enter(now_s)
            self._quota = key.quota

    def _reserve(self, rows: int, now_s: float, held: int = 0) -> None:
        """Places in the queue for more rows than it `held`. Raises Overloaded or TooLarge."""
        model, key = self.model, self.call.key
        if key is None:
            model.admit(rows, self.deadline_s, now_s, held, None, self.bulk)
            return
        key_rows = key.rows_beside(model.place, held)
        model.admit(rows, self.deadline_s, now_s, held, key_rows, self.bulk)
        key.rows[model.place] += rows
        self._key_rows += rows

    def _start(self, item: Any, now_s: float) -> None:
        """It is read, and admitted: let it into the gate."""
        self._item = item
        self._phase_begun_s = now_s
        self._inside = self.model.gate.enter(self._let_in)
        if self._inside:
            self._prepare()

    def _let_in(self) -> None:
        """A place at the gate is free; a run that is over passes it on."""
        self._inside = True
        if self.over:
            self._leave()
        else:
            self._phase_begun_s = time.monotonic()
            self._go_on()

    @step
    def _go_on(self) -> None:
        self._prepare()

    @property
    def is_decoding(self) -> bool:
        """Whether a decoder has its input, or will have it next."""
        return self._decoding is not None

    def _prepare(self) -> None:
        """Decode or tokenise; long work leaves the event loop."""
        form = self.form
        if not form.off_loop:
            self._submit(form.preprocess(self._item))
            return
        loop = asyncio.get_running_loop()
        self._decoding = self.work.decoders.submit(form.preprocess, self._item)
        self._decoding.add_done_callback(lambda _: _call_on(loop, self._decoded))

    def _decoded(self) -> None:
        """The decoder is done; it held the place of a run that is over."""
        if self.over:
            self._leave()
        else:
            self._take_decoded()

    @step
    def _take_decoded(self) -> None:
        if self._decoding:
            decoding, self._decoding = self._decoding, None
            try:
                prepared = decoding.result()
            finally:
                # An error knows this frame: together they would keep the input until the next look
                # for cycles.
                del decoding
            self._submit(prepared)

    def _submit(self, prepared: Prepared) -> None:
        """Write the rows into their slots and tell the engine."""
        model = self.model
        now_s = time.monotonic()
        took_s = now_s - self._phase_begun_s
        model.decode_seconds.observe(took_s)
        call = self.call
        call.phases_ms.append(took_s * 1000)
        call.submitted_s = now_s
        self._item = None
        if self._held_bytes:
            self._drop_body()
        self._context = prepared.context  # the tensors are of no use any more
        self._unanswered = call.rows = rows = prepared.rows
        call.shape = prepared.shape
        if rows > 1:
            self._reserve(rows - 1, now_s, held=1)
        self._slots, self._places = model.take(rows), 0
        model.write(self._slots, prepared, self.deadline_s, self.bulk)
        self.work.link.submit(model, self._slots, self, now_s)

    # It is answered.

    @step
    def row_done(self) -> None:
        """One of its rows was run; with the last one it is answered."""
        self._unanswered -= 1
        if self._unanswered:
            return
        model, call, form = self.model, self.call, self.form
        queue_s, run_s, call.batch_rows = model.times(self._slots)
        if self.work.traces is not None:
            call.batches = model.batches(self._slots)
        begun_s = time.monotonic()
        answer = form.postprocess(self._context, model.outputs(self._slots))
        model.queue_seconds.observe(queue_s)
        now_s = time.monotonic()
        took_s = now_s - begun_s
        model.postprocess_seconds.observe(took_s)
        call.phases_ms += (queue_s * 1000, run_s * 1000, took_s * 1000)
        self._finish(form.reply(answer, call, run_s, now_s), now_s)

    # It ends without an answer.

    def has_begun(self) -> bool:
        """Whether the engine has begun to run one of its rows, while it holds them."""
        started_s, submitted_s = self.model.arena.started_s, self.model.submitted_s
        return any(started_s[slot] >= submitted_s[slot] for slot in self._slots)

    def fail(self, error: InferctlError) -> None:
        """End it with a problem, unless it is over."""
        if not self.over:
            self._finish(self.dialect.problem(error, self.call), time.monotonic())

    def fail_of(self, error: Exception) -> None:
        """End it with whatever a step raised."""
        if not isinstance(error, InferctlError):
            traceback.print_exception(error, file=sys.stderr)
            error = InferctlError(BUG)
        self.fail(error)

    def _finish(self, reply: Reply, now_s: float) -> None:
        """Give everything back, and answer."""
        self.over = True
        self._item = None
        if self._held_bytes or self._waiting_bytes:
            self._drop_body()
        if self._places:
            self.model.cancel(self._places)
        for slot in self._slots:
            self.work.link.release(self.model, slot)
        if self._quota is not None:
            self._quota.leave()
        if self._key_rows and self.call.key:
            self.call.key.rows[self.model.place] -= self._key_rows
        if self._decoding:
            self._decoding.cancel()  # `_decoded` comes in any case
        elif self._inside:
            self._leave()
        self.call.end(now_s)
        self._answer(reply)

    def _drop_body(self) -> None:
        """It is decoded, or not wanted any more."""
        self.model.admission.body_bytes -= self._held_bytes
        if self.call.key:
            self.call.key.body_bytes[self.model.place] -= self._held_bytes
        if self._waiting_bytes:
            self.work.intake.release(self._waiting_bytes)
        self._held_bytes = self._waiting_bytes = 0

    def _leave(self) -> None:
        self._inside = False
        self.model.gate.leave()


def not_loaded() -> Unavailable:
    """The error of whoever comes too early."""
    return Unavailable("the models are still loading", hint="wait for /readyz")


def _call_on(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(callback)
