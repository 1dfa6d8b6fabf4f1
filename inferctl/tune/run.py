"""The search from plan to result, in the order in which it happens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inferctl.bench.search import Highest, RateSearch
from inferctl.bench.slo import Judged, Slo, is_met
from inferctl.cores import available_cores
from inferctl.errors import StartError
from inferctl.tune.curves import TIMEOUT_S, RunSeconds, measured_curves
from inferctl.tune.final import Final
from inferctl.tune.late import Late
from inferctl.tune.live import Live, Open
from inferctl.tune.plan import Plan
from inferctl.tune.race import Race, Spent
from inferctl.tune.simulated import carried_per_s
from inferctl.tune.space import Candidate, Space
from inferctl.tune.state import State, open_state

# The share of the budget that the race may take; the rest is for its winner beside what is set now.
RACE = 0.65
# A final window may be so many times as long as one of the race.
FINAL_WINDOWS = 2
# The cost curve's bound is off by this much: what else the machine does is in it.
BOUND_SLACK = 0.8

# Told what is done, and how many seconds are left.
OnTick = Callable[[str, float], object]


@dataclass(slots=True)
class Tuned:
    """What a search came to.

    `winner` is the candidate to recommend, None if nothing kept the limit. `by_cost`: the generator
    was the limit, so that the CPU per request decided. `is_final`: winner and base were measured in
    turns at the end; else the winner is the race's. `ended`: every neighbour of the winner was
    measured or pruned. `probes` is everything that was measured, by candidate. `raced` is what
    finalists carried in the race, which counts where the final did not come to a result.
    """

    plan: Plan
    space: Space
    state_file: Path
    winner: Candidate | None = None
    highest: dict[Candidate, Highest] = field(default_factory=dict)
    raced: dict[Candidate, float | None] = field(default_factory=dict)
    probes: Mapping[Candidate, list[Judged]] = field(default_factory=dict)
    pruned: int = 0
    by_cost: bool = False
    is_final: bool = False
    ended: bool = False
    interrupted: bool = False
    recalled: int = 0
    measured: int = 0
    seconds: float = 0.0

    @property
    def rate_per_s(self) -> float | None:
        """What the winner carries within the limit."""
        return self.rate_of(self.winner) if self.winner else None

    @property
    def client_limited(self) -> str | None:
        """Why the generator may have been the limit beyond the winner's rate, if so."""
        if self.winner is None or self.rate_per_s is None:
            return None
        if self.winner in self.highest:
            return self.highest[self.winner].client_limited
        return next(
            (
                judged.client_limited
                for judged in self.probes.get(self.winner, ())
                if judged.rate_per_s > self.rate_per_s and judged.client_limited
            ),
            None,
        )

    def rate_of(self, candidate: Candidate) -> float | None:
        """The highest rate at which a candidate kept the limit, and kept it below as well."""
        if candidate in self.highest:
            return self.highest[candidate].rate_per_s
        if candidate in self.raced:
            return self.raced[candidate]
        return carried(self.probes.get(candidate, ()), self.plan.slo)


def carried(probes: Iterable[Judged], slo: Slo) -> float | None:
    """The highest rate that was kept, below the lowest that was missed; several looks count as one.

    Where none is, the highest that was kept once.
    """
    search = RateSearch(slo, 0.0)
    kept = []
    for judged in probes:
        search.note(judged)
        if is_met([judged], slo):
            kept.append(judged.rate_per_s)
    return search.met_per_s or max(kept, default=None)


def tune(
    plan: Plan, open_bench: Open, on_tick: OnTick = lambda text, left_s: None,
    space: Space | None = None,
) -> Tuned:  # fmt: skip
    """Search, within the budget. Raises BenchError or StartError where nothing can be measured.

    `space` is the plan's, or a part of it. A KeyboardInterrupt ends it early; what was measured is
    in the result, and in the state.
    """
    begun_s = time.monotonic()
    space = space or plan.space()
    state = open_state(plan.state, plan.name, plan.question(), fresh=plan.fresh)
    result = Tuned(plan, space, state.file, recalled=state.measured)
    ends_s = begun_s + plan.budget_s
    live = Live(
        open_bench, plan.slo, state, begun_s + RACE * plan.budget_s, plan.longest_window_s,
        lambda text: on_tick(text, ends_s - time.monotonic()),
    )  # fmt: skip
    race = Race(space, plan.slo, live, Bounds(plan, space, state, live).is_hopeless, live.pin)
    result.probes = race.found
    try:
        try:
            _race(race, state, live)
            live.until_s, live.longest_s = ends_s, FINAL_WINDOWS * plan.longest_window_s
            _finish(result, race, live)
        finally:
            live.close()
    except KeyboardInterrupt:
        result.interrupted = True
        live.close()
    if not result.is_final and race.rate_per_s is not None:
        result.winner = race.best
    result.by_cost, result.ended, result.pruned = race.by_cost, race.ended, len(race.pruned)
    result.measured, result.seconds = live.probes, time.monotonic() - begun_s
    return result


def _race(race: Race, state: State, live: Live) -> None:
    """Race until it ends, or its time is up: then it is as far as it came."""
    try:
        if state.start_per_s is None:
            live.pin(race.best)
            state.start_per_s = live.saturated_per_s(race.best)
            state.save()
        race.run(state.start_per_s)
    except Spent:
        pass


def _finish(result: Tuned, race: Race, live: Live) -> None:
    """Measure the winner beside what is set now, and say which is better."""
    if race.rate_per_s is None:
        return
    live.stage = "final"
    finalists = (race.space.base, race.best, *((race.ahead,) if race.ahead else ()))
    result.raced = {one: result.rate_of(one) for one in finalists}
    final = Final.of(
        race.slo, {one: found or race.rate_per_s for one, found in result.raced.items()}
    )
    try:
        if race.by_cost:
            final.run_at(live, race.rate_per_s)
        else:
            final.run(live)
    except Spent:
        pass
    finally:
        for candidate, probes in final.probes.items():
            race.found.setdefault(candidate, []).extend(probes)
    # A look at each says nothing of what they carry.
    winner = final.winner(race.by_cost) if final.is_settled else None
    if winner is not None:
        result.winner, result.is_final = winner, True
        result.highest = {one: final.highest(one) for one in final.finalists}


@dataclass(slots=True)
class Bounds:
    """What devices alone would carry, by the cost curves of the variants."""

    plan: Plan
    space: Space
    state: State
    live: Live
    _late: set[str] = field(default_factory=set)
    _carried: dict[Candidate, float] = field(default_factory=dict)

    def is_hopeless(self, candidate: Candidate, rate_per_s: float) -> bool:
        """Whether its device alone would not carry a rate, far from it."""
        if candidate not in self._carried:
            self._carried[candidate] = self._bound(candidate)
        return self._carried[candidate] < BOUND_SLACK * rate_per_s

    def _bound(self, candidate: Candidate) -> float:
        # A GPU's instances share what one of them has; its curve bounds nothing.
        curves = {} if self.plan.on_gpu else self._curves(candidate)
        cores = available_cores()
        auto_threads = cores if self._has_every_core else 1
        threads = candidate.layout[1]
        if (auto_threads if threads == "auto" else threads) not in curves:
            return float("inf")
        return carried_per_s(candidate, curves, self.plan.slo, cores, auto_threads)

    @property
    def _has_every_core(self) -> bool:
        """Whether that is what a run's threads are by themselves."""
        return self.plan.settings.for_model(self.plan.name).runtime.profile == "latency"

    def _curves(self, candidate: Candidate) -> dict[int, RunSeconds]:
        """Measured once for each variant; none where that fails, and then nothing is pruned.

        None either where the time was up before; that is not kept.
        """
        variant, found = candidate.variant, self.state.curves
        if variant.digest in self._late:
            return {}
        if variant.digest not in found:
            layouts = self.space.axes.get("layout", ())
            threads = sorted({1, *(one for _, one in layouts if one != "auto")})
            try:
                measured = measured_curves(
                    Path(variant.folder), threads, "cpu", self.live.left_s(TIMEOUT_S)
                )
            except Late:
                self._late.add(variant.digest)
                return {}
            except StartError:
                measured = {}
            found[variant.digest] = {count: dict(curve) for count, curve in measured.items()}
        return dict(found[variant.digest])
