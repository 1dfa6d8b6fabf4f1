"""Runs `async def` tests; a conftest that imports the hook turns it on."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

TEST_TIMEOUT_S = 60


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """An exception in a callback of the loop, which nobody awaits, fails the test too."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    parameters = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in parameters}
    strays: list[dict[str, Any]] = []

    async def watched() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, stray: strays.append(stray))
        async with asyncio.timeout(TEST_TIMEOUT_S):
            await pyfuncitem.obj(**arguments)

    asyncio.run(watched())
    assert strays == []
    return True


async def look_once() -> None:
    """Let the loop send what it has, see what its sockets hold, and call whoever waits for it."""
    for _ in range(10):  # a row's way to the engine and back takes five
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until this is so."""
    while not condition():
        await look_once()
