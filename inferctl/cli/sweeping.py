"""What `bench` is told of several loads, and of a limit on latency."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from inferctl.errors import BenchError, UsageError

if TYPE_CHECKING:
    from inferctl.bench import Plan
    from inferctl.bench.course import OnTick
    from inferctl.bench.measurement import Load
    from inferctl.bench.report import Report
    from inferctl.bench.several import Several

SweepText: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--sweep", show_default=False,
        help="One load after the other, and the knee: users=1..128, rate=100..2000:100 or "
        "users=1,3,9.",
    ),
]  # fmt: skip
SloText: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--slo", show_default=False,
        help="A limit as 'p99<50ms', in quotes: how many answers a second are within it; without "
        "a load, the highest rate that keeps it.",
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sweeping:
    """The options of several loads; `is_loaded` is whether a load of its own was given besides."""

    sweep: str | None
    slo: str | None
    arrivals: Literal["poisson", "constant"]
    is_loaded: bool

    @property
    def is_asked(self) -> bool:
        """Whether there is more to say than of one load."""
        return self.sweep is not None or self.slo is not None

    @property
    def is_search(self) -> bool:
        """Whether the rates are searched for."""
        return self.slo is not None and self.sweep is None and not self.is_loaded

    def check(self, *, is_timed: bool, is_against: bool, has_baseline: bool) -> None:
        """Raise UsageError for what does not fit together, before anything is measured.

        `is_timed` is whether a duration was given; the others are what is compared with.
        """
        from inferctl.bench.slo import parse_slo

        if self.sweep is not None:
            if self.is_loaded:
                raise UsageError(
                    "--sweep has loads of its own",
                    hint="leave --users, --rate, --replay and --shape out",
                )
            self._loads()
        if self.slo is not None:
            parse_slo(self.slo)
        if self.is_asked and is_against:
            raise UsageError(
                "--against measures one load by turns", hint="leave --sweep and --slo out"
            )
        if self.is_search and is_timed:
            raise UsageError(
                "a search for the highest rate has times of its own",
                hint="leave --duration out, or give a load",
            )
        if self.is_search and has_baseline:
            raise UsageError(
                "a search has one window of each rate, which cannot be compared",
                hint="leave --baseline out, or give a load",
            )

    def measure(self, plan: Plan, on_tick: OnTick) -> tuple[Several, Report]:
        """Measure a sweep, a load under a limit, or search for the highest rate.

        Raises as `bench` does.
        """
        from inferctl.bench.report import make_report, read_service
        from inferctl.bench.run import opened
        from inferctl.bench.several import searched, swept
        from inferctl.bench.slo import parse_slo
        from inferctl.variables import api_key

        limit = None if self.slo is None else parse_slo(self.slo)
        loads = (plan.load,) if self.sweep is None else self._loads()
        with opened(plan, on_tick, api_key()) as bench:
            if limit is not None and self.is_search:
                several = searched(bench, limit, plan.warmup_s, self.arrivals)
            else:
                several = swept(
                    loads,
                    lambda load: bench.measure(
                        load, windows=plan.windows, window_s=plan.window_s, warmup_s=plan.warmup_s,
                        until_stable=plan.until_stable,
                    ),
                )  # fmt: skip
            report = make_report(
                bench.target, bench.inputs, several.measured, warmup_s=plan.warmup_s,
                service=read_service(bench.target), slo=limit,
            )  # fmt: skip
        return several, replace(
            report, notes=[*several.findings, *report.notes],
            interrupted=report.interrupted or several.interrupted,
        )  # fmt: skip

    def _loads(self) -> tuple[Load, ...]:
        """Those of the sweep, which arrive as asked for. Raises UsageError."""
        from inferctl.bench.sweep import parse_sweep

        return tuple(
            replace(load, arrivals=self.arrivals) if load.rate_per_s else load
            for load in parse_sweep(self.sweep or "")
        )


def check_found(several: Several) -> None:
    """Raise BenchError where a search found no rate that keeps the limit."""
    highest = several.highest
    if highest and highest.rate_per_s is None and not several.interrupted:
        raise BenchError(f"no rate that was offered keeps {highest.slo}")
