"""The hot path: a predict request, from its head to its answer.

Its body comes in, is read as its dialect says, and is one item or several. One goes the way of a
`Run`, whose steps the request has itself; several have a run each, and are answered together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from inferctl.errors import InferctlError
from inferctl.refusals import ClientGone, DeadlineExceeded, Overloaded, RequestTimeout, Unavailable
from inferctl.server.call import SWALLOWED_BYTES, Call, Reply, announced_bytes
from inferctl.server.dialects.dialect import Ask, Dialect, Form
from inferctl.server.run import Run, not_loaded, step
from inferctl.server.served import ServedModel
from inferctl.server.shares import Shares
from inferctl.server.terms import USUAL, Terms
from inferctl.server.workplace import Workplace
from inferctl.tasks.base import Body, Many

Respond = Callable[[Reply], None]

# Larger bodies, and those of which nobody knows how large they are, do without while memory is
# short.
SMALL_BODY_BYTES = 64 * 1024


class Prediction(Run):
    """A request to one model. `respond` is called once, with its answer or its problem.

    `form` is how its body is read, where that is known already.
    """

    __slots__ = ("_known_form", "_parts", "_read_on", "_respond", "_shares", "_timer", "refusal")

    def __init__(
        self, call: Call, model: ServedModel, dialect: Dialect, work: Workplace, respond: Respond,
        terms: Terms = USUAL, form: Form | None = None,
    ) -> None:  # fmt: skip
        Run.__init__(self, call, model, dialect, work)
        self._known_form, self._respond = form, respond
        # Why it will fail once its body is here: whoever still sends does not hear it.
        self.refusal: InferctlError | None = None
        self._read_on: Callable[[], None] | None = None
        # A body in a million parts holds no more than one in a piece.
        self._parts = bytearray()
        self._shares: Shares | None = None
        self._timer: asyncio.TimerHandle | None = None
        if terms is USUAL:
            work.timeouts.begin(self, call.begun_s)
        else:
            self._accept(terms)
        model.requests += 1

    def _accept(self, terms: Terms) -> None:
        """It has terms of its own, and a timer."""
        self.bulk = terms.bulk
        timeout_s = self.work.timeout_s
        if terms.timeout_s is not None:
            timeout_s = min(terms.timeout_s, self.work.max_timeout_s)
            self.deadline_s = self.call.begun_s + timeout_s
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self.expire)

    @step
    def begin(self, announced_bytes: int) -> None:
        """Its headers are here, and nobody knew them: refuse what they rule out."""
        if announced_bytes > self.work.max_body_bytes:
            raise self.work.too_large()
        try:
            self._known_form = self.dialect.form(self.call, self.model)
        except InferctlError as error:
            self._refuse(error)
        else:
            self.announce(announced_bytes)

    def expect(self, size: int, read_on: Callable[[], None]) -> bool:
        """Most of its body is still to come; whether it may. If not, `read_on` is called when so.

        Until then it has its place in the queue, or is refused, and its body may come to be lost.
        Clients that are told to come back are told so when they have sent all: not each of them
        listens before, and its connection is kept.
        """
        if self.refusal:
            is_passing = isinstance(self.refusal, Overloaded | Unavailable)
            if not is_passing or size > SWALLOWED_BYTES:
                self.fail(self.refusal)
            return True
        intake = self.work.intake
        if intake.is_open:
            return True
        try:
            self._admit(time.monotonic())
        except InferctlError as error:
            self._refuse(error)
            return True
        self._read_on = read_on
        intake.wait(size, partial(self._receive, size))
        return False

    def announce(self, size: int) -> None:
        """So many bytes are to come, 0 if nobody knows: refuse it before they are here, or never
        but for their memory."""
        work, admission, now_s = self.work, self.model.admission, time.monotonic()
        try:
            if not work.is_loaded():
                raise not_loaded()
            if work.memory_is_short() and not 0 < size <= SMALL_BODY_BYTES:
                raise admission.refuse("memory", now_s)
            key, key_rows, key_bytes = self.call.key, None, None
            if key is not None:
                self._enter(key, now_s)
                key_rows = key.rows_beside(self.model.place, 0)
                key_bytes = key.bytes_beside(self.model.place, 0)
            admission.expect(size, self.deadline_s, now_s, key_rows, key_bytes, self.bulk)
        except InferctlError as error:
            self._refuse(error)

    def _refuse(self, error: InferctlError) -> None:
        """It will fail once its body is here, which nobody wants: what came of it takes no room."""
        # With the frames that it came through, which know this request, it would be a cycle, and
        # the collector's work under an overload.
        self.refusal = error.with_traceback(None)
        self._parts.clear()
        if self._held_bytes or self._waiting_bytes:
            self._drop_body()

    def _receive(self, size: int) -> None:
        """There is room for its body; a request that is over passes it on."""
        read_on, self._read_on = self._read_on, None
        if self.over or read_on is None:
            self.work.intake.release(size)
        else:
            self._waiting_bytes = size
            read_on()

    def feed(self, part: bytes) -> None:
        """A part of its body is here; of one that is refused it is only counted."""
        self.call.body_bytes += len(part)
        if self.call.body_bytes > self.work.max_body_bytes:
            self.fail(self.work.too_large())
        elif not self.refusal and self.hold(self.call.body_bytes):
            self._parts += part

    def hold(self, size: int) -> bool:
        """Take memory for so many bytes of its body, all in all; whether it may, or is refused."""
        key, held = self.call.key, self._held_bytes
        key_bytes = key.bytes_beside(self.model.place, held) if key else None
        try:
            self.model.admission.hold(size - held, time.monotonic(), held, key_bytes)
        except Overloaded as error:
            self._refuse(error)
            if max(size, announced_bytes(self.call.fields)) > SWALLOWED_BYTES:
                self.model.admission.shed.tell(self._hear)
            return False
        self._count_body(size - held)
        return True

    def _count_body(self, size: int) -> None:
        self._held_bytes += size
        if self.call.key:
            self.call.key.body_bytes[self.model.place] += size

    def fed(self) -> bytearray:
        """What was fed of its body, which `take` will bring whole; or blanks, if it is refused."""
        if self.refusal:
            return bytearray(self.call.body_bytes)
        first, self._parts = self._parts, bytearray()
        return first

    def complete(self) -> None:
        """All parts of its body were fed."""
        self.take(b"" if self.refusal else self.fed())

    @step
    def take(self, body: Body) -> None:
        """Its body is here in one piece, and is not too large: read it, and let it go on."""
        call = self.call
        call.body_received, call.body_bytes = True, len(body)
        now_s = time.monotonic()
        if self.refusal:
            self.fail(self.refusal)
            return
        if not self._places:
            self._admit(now_s)
        self.form = form = self._known_form or self.dialect.form(call, self.model)
        item = form.read(body)
        if type(item) is Ask:
            item = self._heed(item)
        if type(item) is Many:
            self._share_out(item, now_s)
            return
        self._start(item, now_s)
        if self._item is not None:
            self._hold_body()  # it waits for the gate, or for its decoder

    def _hold_body(self) -> None:
        """It waits: let the intake count it, unless it does since it was let in."""
        size = self.call.body_bytes
        if not self._held_bytes:
            self._count_body(size)
            self.model.admission.body_bytes += size
        if not self._waiting_bytes:
            self._waiting_bytes = size
            self.work.intake.hold(size)

    def _heed(self, ask: Ask) -> Any:
        """Its body says more of its way; the item that is left."""
        self.form, terms = ask.form, ask.terms
        self.bulk = self.bulk or terms.bulk
        if terms.timeout_s is not None:
            self._shorten(self.call.begun_s + terms.timeout_s)
        return ask.item

    def _shorten(self, deadline_s: float) -> None:
        """It is of no use for as long as its head said."""
        if deadline_s >= self.deadline_s:
            return
        self.deadline_s = deadline_s
        if self._timer is None:
            self.work.timeouts.end(self, None)
        else:
            self._timer.cancel()
        left_s = max(0.0, deadline_s - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(left_s, self.expire)

    def _share_out(self, items: Many, now_s: float) -> None:
        """Each item goes its own way, in the place that it has in the queue."""
        self._hold_body()
        if len(items) > 1:
            self._reserve(len(items) - 1, now_s, held=1)
        self._places = 0
        self._shares = Shares(self, items, now_s)

    def join(self, replies: list[Reply]) -> None:
        """Every item was answered."""
        now_s = time.monotonic()
        self._finish(self.form.join(replies, self.call, now_s), now_s)

    def abandon(self) -> None:
        """Its client is gone."""
        received = self.call.body_received
        error = ClientGone(f"the client left while {'waiting' if received else 'sending'}")
        if self._shares and not self.over:
            self._shares.gather()  # its line says what was done in vain
        self.fail(error)
        if self._shares:
            self._shares.fail(error)

    def fail(self, error: InferctlError) -> None:
        """End it with a problem, unless it is over. Who is to come back later hears it soon."""
        if not isinstance(error, Overloaded):
            Run.fail(self, error)
        elif not self.over:
            self._refuse(error)
            if self._places:  # others want what it holds
                self._hear()
            else:
                self.model.admission.shed.tell(self._hear)

    def _hear(self) -> bool:
        """It is refused; whether it had not ended before."""
        if self.over or not isinstance(self.refusal, Overloaded):
            return False
        self.model.admission.shed.count(self.refusal)
        Run.fail(self, self.refusal)
        return True

    def expire(self) -> None:
        """Its time is over."""
        late = DeadlineExceeded("the deadline passed", hint="retry, or raise it")
        if self._shares:
            self._shares.fail(late)  # those that were in time are answered
        elif self.refusal and self.call.body_received:
            self._hear()
        elif self.call.body_received or self._read_on:
            self.fail(late)
        else:
            self.fail(RequestTimeout("the body did not arrive in time"))

    def _answer(self, reply: Reply) -> None:
        work, model, call = self.work, self.model, self.call
        if self._timer is None:
            work.timeouts.end(self, None)
        else:
            self._timer.cancel()
        self._parts.clear()
        if work.traces is not None:  # first: it may begin a trace, which its accounts then name
            work.traces.record(call, reply)
        # Before the client can know: whoever has an answer finds it counted.
        model.count(reply.outcome, call.total_ms / 1000, call.trace)
        model.requests -= 1
        if model.leaving:
            model.look()
        self._respond(reply)
        work.log.record(call, reply)
