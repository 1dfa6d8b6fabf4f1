"""What is seen of a service that runs, is away, and is back."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console

from inferctl.client import Unreachable
from inferctl.top.view import Screen
from tests.top.service import Service

AWAY = Unreachable("the server does not answer", hint="start it")


class Seen:
    """A screen with a clock of its own, and what a terminal of that width shows of it."""

    def __init__(self, width: int = 80) -> None:
        self.now = datetime(2026, 11, 26, 3, 0, 0, tzinfo=UTC)
        self.screen = Screen("http://box:8000", now=lambda: self.now)
        self.width = width

    def text(self) -> str:
        console = Console(file=io.StringIO(), width=self.width)
        console.print(self.screen)
        return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]

    def row(self, name: str) -> list[str]:
        return next(line for line in self.text().splitlines() if line.startswith(name)).split()


def test_a_model_has_a_row_that_fits_into_a_small_terminal() -> None:
    seen, service = Seen(), Service()
    seen.screen.take(service.reading(0))
    assert seen.row("mood") == ["mood", "v3", *("-" * 5), "0", "0", "0%", "-"]
    service.answers(times=1234)
    service.runs(2)
    seen.screen.take(service.reading(1))
    assert seen.row("mood")[:4] == ["mood", "v3", "1,234", "0.0"]
    assert max(map(len, seen.text().splitlines())) <= 80
    assert "engine" in seen.text()


def test_a_wide_terminal_shows_how_the_rate_went() -> None:
    seen, service = Seen(width=120), Service()
    for at_s, times in enumerate((0, 10, 80)):
        service.answers(times=times)
        seen.screen.take(service.reading(at_s))
    assert seen.row("mood")[-1] == "▂█"
    seen.width = 80
    assert "█" not in seen.text()


def test_the_state_is_told() -> None:
    seen, service = Seen(), Service()
    service.uptime_s = 7300
    service.last_restart = {"role": "engine", "reason": "crash", "at": "", "ago_s": 42.0}
    service.warnings = ["no GPU: \x1b[31mbuy one"]
    seen.screen.take(service.reading())
    text = seen.text()
    assert "inferctl top  http://box:8000  ● ok  up 2 h 1 min  engine ready  workers 2" in text
    assert "last restart: engine, 42 s ago (crash)" in text
    assert "! no GPU: �[31mbuy one" in text


def test_a_gpu_has_its_line() -> None:
    seen, service = Seen(), Service()
    gauges = {"memory_used_bytes": 3 * 2.0**30, "utilization_ratio": 0.5, "power_watts": 120.0}
    seen.screen.take(replace(service.reading(), gpus={"0": gauges}))
    assert "GPU 0: memory used 3.0 GiB, utilization 50.0 %, power 120 W" in seen.text()


def test_a_service_that_is_away_keeps_its_last_figures() -> None:
    seen, service = Seen(), Service()
    seen.screen.take(service.reading(0))
    service.answers(times=8)
    seen.screen.take(service.reading(1))
    seen.screen.lose(AWAY)
    seen.now += timedelta(seconds=75)
    seen.screen.lose(AWAY)
    text = seen.text()
    assert "not reachable since 03:00:00 (75 s): the server does not answer; start it" in " ".join(
        text.split()
    )
    assert "● ok" not in text
    assert seen.row("mood")[2] == "8.0"
    service.is_started_again()
    seen.screen.take(service.reading(80))
    assert "not reachable" not in seen.text()
    assert seen.row("mood")[2] == "0.0"
