"""One look at a service, from two readings an interval apart."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import Any

from inferctl.client import AsyncClient, ClientError
from inferctl.errors import WatchError
from inferctl.top.rates import Figures
from inferctl.top.reading import Reading, read
from inferctl.top.view import Screen

# A service that takes longer for its own state is not reachable.
LEAST_TIMEOUT_S = 3.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What `inferctl top` was told."""

    url: str
    interval_s: float
    api_key: str | None = field(default=None, repr=False)


def client_of(plan: Plan) -> AsyncClient:
    """Who asks. Raises WatchError for what is no URL."""
    try:
        return AsyncClient(
            plan.url,
            api_key=plan.api_key,
            timeout_s=max(plan.interval_s, LEAST_TIMEOUT_S),
            max_retries=0,
        )
    except ClientError as error:
        raise _failure(plan, error) from None


async def first_reading(plan: Plan, client: AsyncClient) -> Reading:
    """A reading of a service that should be there. Raises WatchError."""
    try:
        return await read(client)
    except ClientError as error:
        raise _failure(plan, error) from None


async def look(plan: Plan, screen: Screen) -> None:
    """Let the screen have two readings, an interval apart. Raises WatchError."""
    async with client_of(plan) as client:
        screen.take(await first_reading(plan, client))
        await asyncio.sleep(plan.interval_s)
        screen.take(await first_reading(plan, client))


def document(url: str, figures: Figures) -> dict[str, Any]:
    """The figures as JSON has them."""
    return {"url": url, **asdict(figures)}


def _failure(plan: Plan, error: ClientError) -> WatchError:
    return WatchError(error.detail, where=plan.url, hint=error.hint)
