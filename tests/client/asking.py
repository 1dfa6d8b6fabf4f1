"""Both clients behind one face, so that each test asks with both."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from inferctl.client import AsyncClient, AsyncPendingJob, AsyncPendingJobs, Client, ClientError
from inferctl.client.inputs import Input

Kind = Literal["blocking", "awaiting"]


class Asking:
    """Makes a client for each call; `settings` are its own, for the blocking one."""

    def __init__(self, kind: Kind, url: str = "", **settings: Any) -> None:
        self.kind = kind
        self._url = url
        self._settings = settings

    def of(self, url: str, **settings: Any) -> Asking:
        """The same kind of client for another server."""
        return Asking(self.kind, url, **settings)

    def __call__(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of a fresh client."""
        if self.kind == "blocking":
            with Client(self._url, **self._settings) as client:
                return getattr(client, method)(*arguments, **options)
        return asyncio.run(self._awaited(method, *arguments, **options))

    def predict(self, x: Input, **options: Any) -> Any:
        return self("predict", x, **options)

    def many(self, inputs: Iterable[Input], **options: Any) -> list[Any]:
        """What `predict_many` yields."""
        if self.kind == "blocking":
            with Client(self._url, **self._settings) as client:
                return list(client.predict_many(inputs, **options))
        return asyncio.run(self._all(inputs, **options))

    def failure(self, x: Input, **options: Any) -> ClientError:
        """The error that a prediction ends with."""
        try:
            answer = self.predict(x, **options)
        except ClientError as error:
            return error
        raise AssertionError(f"it was answered: {answer}")

    @contextmanager
    def open(self) -> Iterator[Any]:
        """A client that stays for several calls, which are written as for the one that blocks."""
        if self.kind == "blocking":
            with Client(self._url, **self._settings) as client:
                yield client
            return
        with asyncio.Runner() as runner:
            client = self._client()
            try:
                yield Blocking(client, runner)
            finally:
                runner.run(client.close())

    def _client(self) -> AsyncClient:
        settings = dict(self._settings)
        if "pause" in settings:
            pause = settings["pause"]

            async def awaited(seconds: float) -> None:
                pause(seconds)

            settings["pause"] = awaited
        return AsyncClient(self._url, **settings)

    async def _awaited(self, method: str, *arguments: Any, **options: Any) -> Any:
        async with self._client() as client:
            return await getattr(client, method)(*arguments, **options)

    async def _all(self, inputs: Iterable[Input], **options: Any) -> list[Any]:
        async with self._client() as client:
            return [outcome async for outcome in client.predict_many(inputs, **options)]


class Blocking:
    """What is awaited, as if it blocked: its methods, and what these give."""

    def __init__(self, awaited: Any, runner: asyncio.Runner) -> None:
        self._awaited, self._runner = awaited, runner

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._awaited, name)
        if not callable(member):
            return self._blocking(member)

        def call(*arguments: Any, **options: Any) -> Any:
            outcome = member(*arguments, **options)
            if inspect.isasyncgen(outcome):
                return self._each(outcome)
            return self._blocking(
                self._runner.run(outcome) if inspect.iscoroutine(outcome) else outcome
            )

        return call

    def _each(self, outcomes: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(outcomes, self)

        while (outcome := self._runner.run(following())) is not self:
            yield outcome

    def _blocking(self, outcome: Any) -> Any:
        if isinstance(outcome, tuple):
            return tuple(map(self._blocking, outcome))
        is_job = isinstance(outcome, AsyncPendingJob | AsyncPendingJobs)
        return Blocking(outcome, self._runner) if is_job else outcome
