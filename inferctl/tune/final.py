"""The last measurements: the winner beside what is set now, in turns, longer than before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferctl.bench.search import Highest, RateSearch, summed_up
from inferctl.bench.slo import Judged, Slo
from inferctl.tune.race import Prober, is_cheaper
from inferctl.tune.space import Candidate

# What a finalist carries is known from the race, about.
STEP = 1.06
# Where the CPU decides, so many looks at each.
LOOKS_AT_COST = 2
MOST_ROUNDS = 20


@dataclass(slots=True)
class Final:
    """Finalists, the one that is set now first, and a search of its own for each."""

    slo: Slo
    finalists: Sequence[Candidate]
    searches: dict[Candidate, RateSearch]
    probes: dict[Candidate, list[Judged]]
    ended: bool = False

    @classmethod
    def of(cls, slo: Slo, start_per_s: Mapping[Candidate, float]) -> Final:
        """Each begins with what it was seen to carry in the race."""
        searches = {
            one: RateSearch(slo, rate_per_s, step=STEP) for one, rate_per_s in start_per_s.items()
        }
        return cls(slo, list(searches), searches, {one: [] for one in searches})

    def run(self, probe: Prober) -> None:
        """A step of each search in turn, until all are done; raises Spent when the time is up."""
        for number in range(MOST_ROUNDS):
            going_on = False
            for candidate in self.finalists if number % 2 else reversed(self.finalists):
                rate_per_s = self.searches[candidate].next_per_s()
                if rate_per_s is not None:
                    going_on = True
                    self._note(candidate, probe(candidate, rate_per_s))
            if not going_on:
                break
        self.ended = True

    def run_at(self, probe: Prober, rate_per_s: float) -> None:
        """The same rate for all, where the generator can offer no more; raises Spent."""
        for _ in range(LOOKS_AT_COST):
            for candidate in self.finalists:
                self._note(candidate, probe(candidate, rate_per_s))
        self.ended = True

    def _note(self, candidate: Candidate, judged: Judged) -> None:
        self.searches[candidate].note(judged)
        self.probes[candidate].append(judged)

    @property
    def is_settled(self) -> bool:
        """Whether it says what each finalist carries: it ended, or each has its bracket."""
        return self.ended or all(
            search.met_per_s is not None and search.missed_per_s is not None
            for search in self.searches.values()
        )

    def highest(self, candidate: Candidate) -> Highest:
        """What a finalist was found to carry."""
        search = self.searches[candidate]
        done = search.next_per_s() is None
        return summed_up(search, self.probes[candidate], confirmed=done)

    def winner(self, by_cost: bool) -> Candidate | None:
        """The finalist to recommend, None before each carried something.

        What is set now stays, unless another one carries more, or costs less where that decides.
        """
        base, *others = self.finalists
        chosen = base if self.highest(base).rate_per_s is not None else None
        for other in others:
            rate_per_s = self.highest(other).rate_per_s
            if rate_per_s is None:
                continue
            ours = self.highest(chosen).rate_per_s if chosen else None
            if ours is None or chosen is None:
                chosen = other
            elif by_cost:
                chosen = other if is_cheaper(self._cost(other), self._cost(chosen)) else chosen
            elif rate_per_s > ours:
                chosen = other
        return chosen

    def _cost(self, candidate: Candidate) -> Judged:
        """Its cheaper measurement: a disturbed one costs more."""
        return min(self.probes[candidate], key=lambda one: one.cpu_ms or float("inf"))
