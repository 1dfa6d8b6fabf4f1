"""The client that is awaited."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing
from typing import Any, Self, TypeVar, Unpack, overload

import httpx2

from inferctl.client.blocking import AHEAD, CONCURRENCY, MAX_RETRIES, TIMEOUT_S
from inferctl.client.connection import lost, request_of, settings
from inferctl.client.dialogue import Dialogue, Options, Outcome
from inferctl.client.exchange import Encode, Lost, Patience, Pause, Reply, Send, Steps
from inferctl.client.inputs import Input, Picture
from inferctl.client.jobs.awaiting import AsyncPendingJob, AsyncPendingJobs
from inferctl.client.jobs.bulk import Bulk
from inferctl.client.jobs.dialogue import JobDialogue, JobOptions, path_of
from inferctl.client.jobs.status import JobStatus
from inferctl.client.results import Classification, Detections, Prediction, Tensors, TextLabel
from inferctl.client.served import Health, Model
from inferctl.client.shares import Share, Shares

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio. Files and images are read and encoded in threads.

    Use it as an asynchronous context manager, or `close` it.
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
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """As `Client`; `pause` is awaited. Raises InvalidInput."""
        self._http = httpx2.AsyncClient(**settings(url, api_key, headers))
        patience = Patience(max_retries, now, random.random)
        self._dialogue = Dialogue(timeout_s, patience)
        self._jobs = JobDialogue(timeout_s, patience)
        self._pause = pause

    @overload
    async def predict(self, x: str, **options: Unpack[Options]) -> TextLabel: ...
    @overload
    async def predict(
        self, x: Picture, **options: Unpack[Options]
    ) -> Detections | Classification: ...
    @overload
    async def predict(self, x: Mapping[str, Any], **options: Unpack[Options]) -> Tensors: ...
    @overload
    async def predict(self, x: Input, **options: Unpack[Options]) -> Prediction: ...

    async def predict(self, x: Input, **options: Unpack[Options]) -> Prediction:
        """As `Client.predict`. Raises ClientError."""
        return await self._run(self._dialogue.predict(x, options))

    async def predict_many(
        self,
        inputs: Iterable[Input] | AsyncIterable[Input],
        *,
        concurrency: int = CONCURRENCY,
        **options: Unpack[Options],
    ) -> AsyncIterator[Outcome]:
        """As `Client.predict_many`; the inputs may come asynchronously too."""
        places = asyncio.Semaphore(concurrency)

        async def ask(share: Share) -> list[Outcome]:
            async with places:
                return await self._run(self._dialogue.predict_share(share, options))

        asked: deque[asyncio.Task[list[Outcome]]] = deque()
        try:
            async for share in _shares(inputs):
                asked.append(asyncio.create_task(ask(share)))
                while len(asked) >= concurrency * AHEAD or (asked and asked[0].done()):
                    for outcome in await asked.popleft():
                        yield outcome
            while asked:
                for outcome in await asked.popleft():
                    yield outcome
        finally:
            for task in asked:
                task.cancel()

    async def submit(
        self, x: Input, *, idempotency_key: str | None = None, **options: Unpack[JobOptions]
    ) -> AsyncPendingJob:
        """As `Client.submit`. Raises ClientError."""
        status = await self._run(self._jobs.submit(x, options, idempotency_key))
        return AsyncPendingJob(status.id, self._jobs, self._run)

    async def submit_many(
        self,
        inputs: Iterable[Input] | AsyncIterable[Input],
        *,
        idempotency_key: str | None = None,
        **options: Unpack[JobOptions],
    ) -> AsyncPendingJobs:
        """As `Client.submit_many`; the inputs may come asynchronously too."""
        bulk = Bulk(self._jobs, options, idempotency_key)
        try:
            async for x in _each(inputs):
                await self._run(bulk.add(x))
            await self._run(bulk.end())
        except BaseException:
            try:
                await self._run(bulk.undo())
            finally:
                bulk.tell(sys.exception())
            raise
        return AsyncPendingJobs(bulk, self._jobs, self._run)

    def job(self, job_id: str) -> AsyncPendingJob:
        """As `Client.job`. Raises InvalidInput."""
        path_of(job_id)
        return AsyncPendingJob(job_id, self._jobs, self._run)

    async def jobs(self, *, state: str | Sequence[str] = ()) -> AsyncIterator[JobStatus]:
        """As `Client.jobs`. Raises ClientError."""
        after: str | None = ""
        while after is not None:
            page, after = await self._run(self._jobs.page(state, after))
            for status in page:
                yield status

    async def models(self) -> list[Model]:
        """What is served. Raises ClientError."""
        return await self._run(self._dialogue.models())

    async def health(self) -> Health:
        """The service's state. Raises ClientError."""
        return await self._run(self._dialogue.health())

    async def metrics(self) -> str:
        """The service's numbers, as Prometheus' text. Raises ClientError."""
        return await self._run(self._dialogue.metrics())

    async def ready(self) -> bool:
        """Whether every model is warm; False too when nobody answers. Raises ClientError."""
        return await self._run(self._dialogue.ready())

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                result: T = end.value
                return result
            outcome = await self._do(step)

    async def _do(self, step: Send | Pause | Encode) -> Any:
        if isinstance(step, Encode):
            return await asyncio.to_thread(step.work)
        if isinstance(step, Pause):
            return await self._pause(step.seconds)
        return await self._send(step)

    async def _send(self, step: Send) -> Reply | Lost:
        answered = False
        try:
            request = self._http.build_request(**request_of(step))
            response = await self._http.send(request, stream=True)
            answered = True
            return await _read(response, step.outgoing.most_bytes)
        except httpx2.RequestError as error:
            return lost(error, step, answered=answered)


async def _read(response: httpx2.Response, most_bytes: int | None) -> Reply:
    if most_bytes is None:
        return Reply(response.status_code, response.headers, await response.aread())
    body = bytearray()
    async with aclosing(response):
        async for part in response.aiter_bytes():
            body += part
            if len(body) > most_bytes:
                return Reply(response.status_code, response.headers, bytes(body), is_whole=False)
    return Reply(response.status_code, response.headers, bytes(body))


async def _shares(inputs: Iterable[Input] | AsyncIterable[Input]) -> AsyncIterator[Share]:
    shares = Shares()
    async for x in _each(inputs):
        for share in shares.add(x):
            yield share
    for share in shares.rest():
        yield share


async def _each(inputs: Iterable[Input] | AsyncIterable[Input]) -> AsyncIterator[Input]:
    if isinstance(inputs, AsyncIterable):
        async for x in inputs:
            yield x
    else:
        for x in inputs:
            yield x
