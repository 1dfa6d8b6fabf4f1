"""What is drawn while a service is there, away, and there again."""

from __future__ import annotations

import asyncio

import pytest

from inferctl.client import AsyncClient
from inferctl.top.loop import follow
from inferctl.top.view import Screen
from tests.client.scripted import Answer, Refusal, scripted
from tests.top.service import Service
from tests.top.test_once import answers


class Frames:
    """Takes the place of a terminal, and ends with the last frame."""

    def __init__(self, screen: Screen, count: int) -> None:
        self.screen, self.count = screen, count
        self.rates: list[float | str | None] = []

    def refresh(self) -> None:
        figures, is_lost = self.screen.figures, self.screen.is_lost
        assert figures is not None
        self.rates.append("lost" if is_lost else figures.models["mood"].requests_per_s)
        if len(self.rates) == self.count:
            raise asyncio.CancelledError


async def test_it_recovers_when_the_service_is_back() -> None:
    service = Service()
    service.answers(times=1000)
    before = answers(service)
    service.is_started_again()
    service.answers(times=5)
    after = answers(service)
    refused = Answer(503, {"code": "unavailable"})
    with scripted(*before, Refusal(), refused, *after, *after) as server:
        screen = Screen(server.url)
        frames = Frames(screen, count=5)
        async with AsyncClient(server.url, max_retries=0) as client:
            with pytest.raises(asyncio.CancelledError):
                await follow(client, 0.01, screen, frames)  # type: ignore[arg-type]
    first, lost, still_lost, back, now = frames.rates
    assert (first, lost, still_lost, now) == (None, "lost", "lost", 0)
    assert isinstance(back, float)
    assert back > 0
