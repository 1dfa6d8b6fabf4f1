"""A Celery worker in a thread of a process that does jobs: it hands the ids that come to the pump.

It is Celery's own, with its pool of threads, each of which waits until a job has ended, or one of
many items begun: as many messages as threads are taken out of the queue, and the rest is left to
other machines. Ours is what is refused, how soon Redis is asked again after it was gone, what is
said of that, and that it begins anew after a fault. It touches no signal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

import structlog
from celery.platforms import EX_FAILURE
from celery.worker import WorkController, state
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.asynchronous import set_event_loop
from kombu.transport.redis import Transport

from inferctl.jobs.celery.app import TASK, App
from inferctl.jobs.celery.message import job_id_of
from inferctl.jobs.redis.names import QUEUE

log = structlog.get_logger()

# How often a Redis that is gone is asked whether it is back.
AGAIN_S = 1
# How often who waits for a job looks whether Celery wants to begin anew.
LOOK_S = 0.5
END = 0


class Consumer:
    """Runs between `start` and `stop`; one in a process.

    `offer` takes an id, in any thread, and answers a future that is done once nobody has to wait
    for that job any more: until then Celery may give its message to others. `slots` are how many
    ids it holds at once. `refused` is called for each message that is none of ours.
    """

    def __init__(
        self,
        url: str,
        offer: Callable[[str], Future[Any]],
        slots: int,
        refused: Callable[[], None],
    ) -> None:
        self._url, self._offer, self._slots, self._refused = url, offer, slots, refused
        self._thread = threading.Thread(target=self._run, name="celery", daemon=True)
        self._is_ending, self._has_fault = threading.Event(), threading.Event()

    def start(self) -> None:
        """Take ids from now on, or as soon as Redis is there."""
        state.should_stop = None
        self._thread.start()

    def stop(self) -> None:
        """Take no more, and end once `offer`'s futures are done."""
        self._is_ending.set()
        state.should_stop = END

    def join(self, timeout_s: float) -> bool:
        """Whether it ended in so many seconds."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        """Until `stop`. Celery's worker ends by itself only where it has a fault."""
        while not self._is_ending.is_set():
            reason = ""
            self._has_fault.clear()
            try:
                self._worker().start()
            except Exception as error:  # noqa: BLE001 - or no id ever came here again
                reason = f"{type(error).__name__}: {error}"
            if not self._is_ending.wait(AGAIN_S):
                log.error("what takes ids of jobs ended, and begins again", reason=reason)

    def _worker(self) -> WorkController:
        set_event_loop(None)  # kombu's, of which the one before would be taken
        app = App(self._url)
        app.conf.broker_transport = _transport(self._refused)
        app.task(name=TASK, shared=False, max_retries=0)(self._do)
        app.finalize()
        app.set_default()  # where the threads of the pool look for the task
        return Worker(
            self._has_fault,
            app=app,
            pool_cls="threads",
            concurrency=self._slots,
            queues=[QUEUE],
            consumer_cls=partial(IdConsumer, refused=self._refused),
            without_mingle=True,
            without_gossip=True,
            without_heartbeat=True,
        )

    def _do(self, job_id: str) -> None:
        """Wait until nobody has to any more, whichever way that went: the message is gone then.

        Where Celery has a fault it waits for all who wait: the jobs go on without."""
        future = self._offer(job_id)
        while wait([future], LOOK_S).not_done and not self._has_fault.is_set():
            pass


class Worker(WorkController):  # type: ignore[misc]  # Celery ships no types
    """Tells that it ends by a fault."""

    def __init__(self, has_fault: threading.Event, **options: Any) -> None:
        self._has_fault = has_fault
        super().__init__(**options)

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        """See Celery."""
        if exitcode == EX_FAILURE:
            self._has_fault.set()
        super().stop(in_sighandler, exitcode)


class IdConsumer(CeleryConsumer):  # type: ignore[misc]  # Celery ships no types
    """Takes ids of jobs, and nothing else."""

    def __init__(self, *arguments: Any, refused: Callable[[], None], **options: Any) -> None:
        self._refused = refused
        self._is_gone = False
        super().__init__(*arguments, **options)

    def create_task_handler(self, *_: Any, **__: Any) -> Callable[[Any], None]:
        """See Celery, which would run any task that it knows, at any time that a message says."""
        take = super().create_task_handler()

        def on_message(message: Any) -> None:
            if job_id_of(message) is None:
                message.reject_log_error(log, self.connection_errors)
                self._refused()
            else:
                take(message)

        return on_message

    def ensure_connected(self, conn: Any) -> Any:
        """See Celery, which asks less and less often."""
        connected = conn.ensure_connection(
            self._say_that_it_is_gone,
            interval_start=AGAIN_S,
            interval_step=0,
            interval_max=AGAIN_S,
            callback=state.maybe_shutdown,
        )
        if self._is_gone:
            log.info("Redis is back: ids of jobs come again")
        self._is_gone = False
        return connected

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """See Celery, which prints its stack."""
        self._say_that_it_is_gone(exc, 0)
        self.connection.collect()

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """See Celery."""
        self._say_that_it_is_gone(exc, 0)

    def _say_that_it_is_gone(self, error: Exception, _interval_s: float) -> None:
        if not self._is_gone:
            log.warning("Redis is gone: no ids of jobs come", reason=type(error).__name__)
        self._is_gone = True


def _transport(refused: Callable[[], None]) -> type[Transport]:
    """Kombu's, which lives on when what it reads is no message at all."""

    class LenientTransport(Transport):
        def on_readable(self, *arguments: Any) -> None:
            try:
                super().on_readable(*arguments)  # type: ignore[no-untyped-call] # theirs
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                refused()

    return LenientTransport
