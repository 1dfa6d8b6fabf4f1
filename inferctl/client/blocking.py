"""The client that blocks."""

from __future__ import annotations

import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Self, TypeVar, Unpack, overload

import httpx2

from inferctl.client.connection import lost, request_of, settings
from inferctl.client.dialogue import Dialogue, Options, Outcome
from inferctl.client.exchange import Encode, Lost, Patience, Pause, Reply, Send, Steps
from inferctl.client.inputs import Input, Picture
from inferctl.client.jobs.blocking import PendingJob, PendingJobs
from inferctl.client.jobs.bulk import Bulk
from inferctl.client.jobs.dialogue import JobDialogue, JobOptions, path_of
from inferctl.client.jobs.status import JobStatus
from inferctl.client.results import Classification, Detections, Prediction, Tensors, TextLabel
from inferctl.client.served import Health, Model
from inferctl.client.shares import Share, Shares

T = TypeVar("T")

TIMEOUT_S = 30.0
MAX_RETRIES = 3
CONCURRENCY = 8
# Shares under way or done for each that runs: one slow answer must not idle the others.
AHEAD = 2


class Client:
    """Asks a server for predictions; keeps its connections, and may be used by several threads.

    Use it as a context manager, or `close` it.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        max_retries: int = MAX_RETRIES,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`timeout_s` is the deadline of a request that names none, its retries included.

        `api_key` is sent as a bearer token. `now` and `pause` are the clock. Raises InvalidInput.
        """
        self._http = httpx2.Client(**settings(url, api_key, headers))
        patience = Patience(max_retries, now, random.random)
        self._dialogue = Dialogue(timeout_s, patience)
        self._jobs = JobDialogue(timeout_s, patience)
        self._pause = pause

    @overload
    def predict(self, x: str, **options: Unpack[Options]) -> TextLabel: ...
    @overload
    def predict(self, x: Picture, **options: Unpack[Options]) -> Detections | Classification: ...
    @overload
    def predict(self, x: Mapping[str, Any], **options: Unpack[Options]) -> Tensors: ...
    @overload
    def predict(self, x: Input, **options: Unpack[Options]) -> Prediction: ...

    def predict(self, x: Input, **options: Unpack[Options]) -> Prediction:
        """Ask for one prediction; see `Options`, and `inputs` for what `x` may be.

        Raises ClientError.
        """
        return self._run(self._dialogue.predict(x, options))

    def predict_many(
        self,
        inputs: Iterable[Input],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[Options],
    ) -> Iterator[Outcome]:
        """Ask for many; yields a prediction or a ClientError for each, in the inputs' order.

        `concurrency` is how many requests are under way. Inputs are taken as they are needed, so
        there may be any number of them. The deadline is each request's own.
        """
        with ThreadPoolExecutor(concurrency) as threads:
            asked: deque[Future[list[Outcome]]] = deque()
            try:
                for share in _shares(inputs):
                    asked.append(threads.submit(self._predict_share, share, options))
                    while len(asked) >= concurrency * AHEAD or (asked and asked[0].done()):
                        yield from asked.popleft().result()
                while asked:
                    yield from asked.popleft().result()
            finally:
                threads.shutdown(wait=False, cancel_futures=True)

    def submit(
        self, x: Input, *, idempotency_key: str | None = None, **options: Unpack[JobOptions]
    ) -> PendingJob:
        """Hand in one input to be done later; returns once the server has it, durably.

        With an `idempotency_key` that was used before it is the job of then; without one each call
        makes a job, and one alone, also where the connection breaks. Raises ClientError.
        """
        status = self._run(self._jobs.submit(x, options, idempotency_key))
        return PendingJob(status.id, self._jobs, self._run)

    def submit_many(
        self,
        inputs: Iterable[Input],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> PendingJobs:
        """Hand in many, in as few jobs as the size of a request allows; all of them, or none.

        With an `idempotency_key` of the caller's nothing is cancelled where it ends early: with the
        same inputs and key it goes on from there. An input that cannot be read or sent is an error
        in its place. Raises ClientError; a note of the exception says what could not be cancelled.
        """
        bulk = Bulk(self._jobs, options, idempotency_key)
        try:
            for x in inputs:
                self._run(bulk.add(x))
            self._run(bulk.end())
        except BaseException:
            try:
                self._run(bulk.undo())
            finally:
                bulk.tell(sys.exception())
            raise
        return PendingJobs(bulk, self._jobs, self._run)

    def job(self, job_id: str) -> PendingJob:
        """A job that was submitted before, maybe by another client. Raises InvalidInput."""
        path_of(job_id)
        return PendingJob(job_id, self._jobs, self._run)

    def jobs(self, *, state: str | Sequence[str] = ()) -> Iterator[JobStatus]:
        """Yield the jobs of this API key in a state, in several or in any, the newest first.

        They are asked for as they are needed. Raises ClientError.
        """
        after: str | None = ""
        while after is not None:
            page, after = self._run(self._jobs.page(state, after))
            yield from page

    def models(self) -> list[Model]:
        """What is served. Raises ClientError."""
        return self._run(self._dialogue.models())

    def health(self) -> Health:
        """The service's state. Raises ClientError."""
        return self._run(self._dialogue.health())

    def metrics(self) -> str:
        """The service's numbers, as Prometheus' text. Raises ClientError."""
        return self._run(self._dialogue.metrics())

    def ready(self) -> bool:
        """Whether every model is warm; False too when nobody answers. Raises ClientError."""
        return self._run(self._dialogue.ready())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _predict_share(self, share: Share, options: Options) -> list[Outcome]:
        return self._run(self._dialogue.predict_share(share, options))

    def _run(self, steps: Steps[T]) -> T:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = self._do(step)

    def _do(self, step: Send | Pause | Encode) -> Any:
        if isinstance(step, Encode):
            return step.work()
        if isinstance(step, Pause):
            return self._pause(step.seconds)
        return self._send(step)

    def _send(self, step: Send) -> Reply | Lost:
        answered = False
        try:
            response = self._http.send(self._http.build_request(**request_of(step)), stream=True)
            answered = True
            return _read(response, step.outgoing.most_bytes)
        except httpx2.RequestError as error:
            return lost(error, step, answered=answered)


def _read(response: httpx2.Response, most_bytes: int | None) -> Reply:
    if most_bytes is None:
        return Reply(response.status_code, response.headers, response.read())
    body = bytearray()
    with closing(response):
        for part in response.iter_bytes():
            body += part
            if len(body) > most_bytes:
                return Reply(response.status_code, response.headers, bytes(body), is_whole=False)
    return Reply(response.status_code, response.headers, bytes(body))


def _shares(inputs: Iterable[Input]) -> Iterator[Share]:
    shares = Shares()
    for x in inputs:
        yield from shares.add(x)
    yield from shares.rest()
