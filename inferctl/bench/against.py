"""A server beside an earlier one that runs too: `inferctl bench URL --against OLD_URL`."""

from __future__ import annotations

from dataclasses import replace
from secrets import token_hex

from inferctl.bench.course import OnTick, ignore
from inferctl.bench.measurement import Measurement
from inferctl.bench.offered import WARMUP_S
from inferctl.bench.plan import Plan
from inferctl.bench.report import Report, make_report, read_service
from inferctl.bench.run import LocustBench, opened
from inferctl.bench.turns import by_turns
from inferctl.errors import UsageError


def bench_against(
    plan: Plan, old_url: str, old_model: str | None, on_tick: OnTick = ignore,
    api_key: str | None = None,
) -> tuple[Report, Report]:  # fmt: skip
    """Measure the server of `plan` and the one at `old_url` by turns: reports of (old, new).

    `old_model` None is the model of `plan`. Each is measured for the plan's duration. Raises as
    `bench`, for either.
    """
    if plan.load.shape is not None:
        raise UsageError("by turns a load has no shape", hint="leave --shape or --against out")
    old_plan = replace(plan, url=old_url, model=old_model or plan.model)
    duration_s = plan.windows * plan.window_s
    with opened(old_plan, api_key=api_key) as old, opened(plan, api_key=api_key) as new:
        found = by_turns(
            [old, new],
            plan.load,
            duration_s,
            lambda turn, turns: on_tick("measure", duration_s * turn / turns, duration_s),
        )
        session = token_hex(8)
        before, after = (
            _report(bench, one, session) for bench, one in zip((old, new), found, strict=True)
        )
        return before, after


def _report(bench: LocustBench, measured: Measurement, session: str) -> Report:
    return make_report(
        bench.target, bench.inputs, [measured], warmup_s=WARMUP_S,
        service=read_service(bench.target), session=session,
    )  # fmt: skip
