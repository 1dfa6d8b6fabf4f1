"""The server that tutorials teach: FastAPI, an asyncio.Queue, a window of 10 ms, ORT in a thread.

`python -m benchmarks.peers.tutorial PORT`. PEER_INLINE lists what runs in the event loop instead of
a thread: `preprocess`, `infer`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from benchmarks.peers.work import Answer, Array, load_from_environment

MAX_ROWS = int(os.environ.get("PEER_MAX_ROWS", "32"))
WINDOW_S = float(os.environ.get("PEER_WINDOW_MS", "10")) / 1e3
INLINE = os.environ.get("PEER_INLINE", "").split(",")

Waiting = tuple[Array, asyncio.Future[Answer]]

work = load_from_environment()
pool = ThreadPoolExecutor()
queue: asyncio.Queue[Waiting] = asyncio.Queue()


async def call(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call a step of the work where PEER_INLINE says."""
    if function.__name__ in INLINE:
        return function(argument)
    return await asyncio.get_running_loop().run_in_executor(pool, function, argument)


async def next_batch() -> list[Waiting]:
    """The first that waits, and who comes within the window."""
    batch = [await queue.get()]
    end_s = asyncio.get_running_loop().time() + WINDOW_S
    while len(batch) < MAX_ROWS:
        try:
            async with asyncio.timeout_at(end_s):
                batch.append(await queue.get())
        except TimeoutError:
            break
    return batch


async def run_batches() -> None:
    """Batch after batch, for ever."""
    while True:
        batch = await next_batch()
        answers = await call(work.infer, [item for item, _ in batch])
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Batches are run while the server serves."""
    task = asyncio.create_task(run_batches())
    yield
    task.cancel()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(body: dict[str, Any]) -> Answer:
    """One request: preprocess, wait for its batch, answer."""
    item = await call(work.preprocess, body)
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    await queue.put((item, future))
    return await future


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")
