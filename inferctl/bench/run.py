"""The measurement from plan to report, in the order in which it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple, TypeAlias

from inferctl.bench.figures import (
    ClientFigures,
    Requests,
    ServerFigures,
    client_figures,
    server_figures,
)
from inferctl.bench.generator import Generator, require_locust
from inferctl.bench.plan import Plan, check_data, write_bodies
from inferctl.bench.report import Report, make_report
from inferctl.bench.target import Target, find_target, scrape
from inferctl.errors import BenchError

Stage: TypeAlias = Literal["prepare", "warm-up", "measure", "drain"]
# Called with the stage, the seconds since it began and the seconds that it takes (0: unknown).
OnTick: TypeAlias = Callable[[Stage, float, float], None]

TICK_S = 0.1


def _ignore(stage: Stage, done_s: float, total_s: float) -> None:
    """Nobody watches."""


def bench(plan: Plan, on_tick: OnTick = _ignore, api_key: str | None = None) -> Report:
    """Measure the server of `plan`, with a key if it wants one, and return the report.

    Raises UsageError for what the person can correct, and BenchError when the server is not there,
    the generator fails or no request of the window was answered.
    """
    require_locust()
    check_data(plan.data)
    target = find_target(plan.url, plan.model, api_key)
    on_tick("prepare", 0.0, 0.0)
    with TemporaryDirectory(prefix="inferctl-bench-") as name:
        folder = Path(name)
        bodies = folder / "bodies.jsonl"
        inputs = write_bodies(target.model.task, target.model.example, plan.data, bodies)
        with Generator(
            target.url, target.path, bodies=bodies, folder=folder, users=plan.users,
            warmup_s=plan.warmup_s, duration_s=plan.duration_s, api_key=api_key,
        ) as generator:  # fmt: skip
            window = _measure(generator, target, plan, on_tick)
    client = client_figures(window.requests, window.begun_s, window.begun_s + plan.duration_s)
    if not client.answered:
        raise _nothing_answered(target, plan, client)
    return make_report(plan, target, inputs, client, window.server, window.generator_cpu_cores)


class _Window(NamedTuple):
    """What was collected around the window that began at `begun_s` of the monotonic clock."""

    begun_s: float
    requests: Requests
    server: ServerFigures
    generator_cpu_cores: float | None


def _measure(generator: Generator, target: Target, plan: Plan, on_tick: OnTick) -> _Window:
    started_s = generator.wait_until_started()
    begun_s = started_s + plan.warmup_s
    _wait(generator, "warm-up", started_s, begun_s, on_tick)
    before, cpu_before = scrape(target.url, target.api_key), _cpu(generator)
    _wait(generator, "measure", begun_s, begun_s + plan.duration_s, on_tick)
    # The load goes on while the server is asked: its figures are of a loaded server only.
    after, cpu_after = scrape(target.url, target.api_key), _cpu(generator)
    on_tick("drain", 0.0, 0.0)
    requests = generator.stop()
    server = server_figures(before, after, target.model.name)
    return _Window(begun_s, requests, server, _cores(cpu_before, cpu_after))


def _wait(
    generator: Generator, stage: Stage, begun_s: float, ended_s: float, on_tick: OnTick
) -> None:
    while (now_s := time.monotonic()) < ended_s:
        generator.check()
        on_tick(stage, now_s - begun_s, ended_s - begun_s)
        time.sleep(min(TICK_S, ended_s - now_s))


def _cpu(generator: Generator) -> tuple[float, float | None]:
    return time.monotonic(), generator.cpu_s()


def _cores(before: tuple[float, float | None], after: tuple[float, float | None]) -> float | None:
    if before[1] is None or after[1] is None:
        return None
    return (after[1] - before[1]) / (after[0] - before[0])


def _nothing_answered(target: Target, plan: Plan, client: ClientFigures) -> BenchError:
    errors = ", ".join(f"{status} x {count}" for status, count in client.errors.items())
    return BenchError(
        f"no request was answered in {plan.duration_s:g} s ({errors or 'none came back'})",
        where=target.url + target.path,
        hint="send one with curl to see why" if errors else "measure longer than a request takes",
    )
