"""The live view: read, draw, wait, until somebody quits."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from rich.console import Console
from rich.live import Live

from inferctl.client import AsyncClient, ClientError
from inferctl.top.keyboard import quit_key
from inferctl.top.once import Plan, client_of, first_reading
from inferctl.top.reading import read
from inferctl.top.view import Screen

STDIN = 0
# The exit code of whom a signal ended is this and its number.
KILLED = 128
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def watch(plan: Plan, console: Console) -> int:
    """Show a service until q, Ctrl-C or a signal; the exit code. Raises WatchError at once where
    there is none. What goes wrong later is shown, until it is over."""
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    end = partial(_end, ended)
    async with client_of(plan) as client:
        screen = Screen(plan.url, f"  every {plan.interval_s:g} s, q quits")
        screen.take(await first_reading(plan, client))
        with (
            suppress(OSError),  # the terminal may be gone before we are
            _signals(end),
            quit_key(STDIN, partial(end, 0)),
            _shown(screen, console) as live,
        ):
            following = asyncio.create_task(follow(client, plan.interval_s, screen, live))
            both: set[asyncio.Future[Any]] = {ended, following}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not following.cancel():
                following.result()  # what went wrong
    return ended.result() if ended.done() else KILLED + signal.SIGHUP


async def follow(client: AsyncClient, interval_s: float, screen: Screen, live: Live) -> None:
    """Read and draw every so many seconds, whatever a reading takes; it does not return."""
    clock = asyncio.get_running_loop().time
    next_s = clock()
    while True:
        next_s = max(next_s + interval_s, clock())
        await asyncio.sleep(next_s - clock())
        try:
            screen.take(await read(client))
        except ClientError as error:
            screen.lose(error)
        live.refresh()


def _end(ended: asyncio.Future[int], code: int) -> None:
    if not ended.done():
        ended.set_result(code)


@contextmanager
def _signals(end: partial[None]) -> Iterator[None]:
    """Let signals end the loop, and no more than that: so all is put back."""
    loop = asyncio.get_running_loop()
    for number in ENDING:
        loop.add_signal_handler(number, end, 0 if number == signal.SIGINT else KILLED + number)
    try:
        yield
    finally:
        for number in ENDING:
            loop.remove_signal_handler(number)


@contextmanager
def _shown(screen: Screen, console: Console) -> Iterator[Live]:
    """The whole terminal is the screen's; whoever makes it larger sees more at once."""
    loop = asyncio.get_running_loop()
    with Live(screen, console=console, screen=True, auto_refresh=False) as live:
        loop.add_signal_handler(signal.SIGWINCH, live.refresh)
        try:
            yield live
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)
