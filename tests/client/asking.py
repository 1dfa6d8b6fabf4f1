"""Both clients behind one face, so that each test asks with both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Literal

from inferctl.client import AsyncClient, Client, ClientError
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
