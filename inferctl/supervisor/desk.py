"""Who wants the models changed: whoever sends SIGHUP, and clients of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from inferctl.supervisor.child import Child, Message
from inferctl.supervisor.reloader import Reloader


class Desk:
    """Has it done, one after the other, from `open` to `close`."""

    def __init__(self, reloader: Reloader) -> None:
        self._reloader = reloader
        self._woken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def open(self) -> None:
        """Everything runs: what is asked for is done."""
        self._begin(self._reload_when_woken())

    def close(self) -> None:
        """The service ends: nothing is begun, and what is not done is not waited for."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()

    def wake(self) -> None:
        """SIGHUP. Several while a reload runs are one more reload."""
        self._woken.set()

    async def _reload_when_woken(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            await self._reloader.reload()

    def lose(self, lost: Sequence[tuple[int, str]]) -> None:
        """An engine that replaced another is ready, and these it could not load; see `Reloader`."""
        if lost:
            self._begin(self._reloader.lose(lost))

    def take(self, child: Child, message: Message) -> None:
        """A worker asks on behalf of a client; it hears of it when it is done."""
        if self._is_closed:
            child.tell(_unless_done(message))
        else:
            self._begin(self._answer(child, message))

    async def _answer(self, child: Child, message: Message) -> None:
        name = message["model"]
        answer = _unless_done(message)
        try:
            if message["about"] == "index":
                answer["index"] = self._reloader.index()
            elif message["about"] == "load":
                answer["problems"] = await self._reloader.reload(name)
            else:
                answer["problems"] = await self._reloader.unload(name)
        finally:
            child.tell(answer)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _unless_done(message: Message) -> Message:
    """What a worker hears if it gets no further."""
    problems = {message["model"]: "the service ends"}
    return {"do": "hear", "to": message["id"], "index": [], "problems": problems}
