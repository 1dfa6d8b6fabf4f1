"""Which candidate carries the highest rate: challengers against the best one so far.

Pure decisions; `probe` offers a rate to a candidate and judges it. A challenger is offered a little
more than the best is known to carry. Most miss it, which one measurement shows. One that keeps the
limit is not believed: the best is offered the same at once, and only if that misses it now does the
challenger take its place. So what the machine does over time meets both alike, and a slow minute
makes no winner. Who lost is asked once more at the end, while there is time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from inferctl.bench.search import RateSearch
from inferctl.bench.slo import Judged, Slo, is_met
from inferctl.tune.space import Candidate, Space

# A challenger must carry so much more than the best.
MARGIN = 0.04
# A new best is offered more in such steps.
CLIMB = 1.1
# After so many challengers in a row that missed, the best is measured again.
RECHECK = 3
# Where the generator is the limit, a candidate is better that takes so much less of the CPU.
CHEAPER = 0.05
# How near the bracket of what is set now is taken together at the beginning.
SETTLED = 0.06


class Spent(Exception):
    """There is no time left for another measurement."""


class Prober(Protocol):
    """Offers rates to candidates."""

    def __call__(self, candidate: Candidate, rate_per_s: float) -> Judged:
        """Serve a candidate, offer it a rate. Raises Spent instead, where there is no time."""
        ...


@dataclass(slots=True)
class Race:
    """`best` is the one to beat and `rate_per_s` what it was last seen to carry; None for nothing.

    `hopeless` says whether a candidate cannot carry a rate, without measuring it. `by_cost`: the
    generator could not offer more than `rate_per_s`, so that the CPU per request decides.
    """

    space: Space
    slo: Slo
    probe: Prober
    hopeless: Callable[[Candidate, float], bool] = lambda candidate, rate_per_s: False
    on_best: Callable[[Candidate], object] = lambda candidate: None
    best: Candidate = field(init=False)
    rate_per_s: float | None = None
    by_cost: bool = False
    # A challenger that is ahead, while the best was not offered the same yet.
    ahead: Candidate | None = None
    ended: bool = False
    found: dict[Candidate, list[Judged]] = field(default_factory=dict)
    pruned: set[Candidate] = field(default_factory=set)
    _tried: set[Candidate] = field(default_factory=set)
    _lost: dict[Candidate, Judged] = field(default_factory=dict)
    _since_check: list[Candidate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.best = self.space.base
        self._tried.add(self.best)

    def run(self, start_per_s: float) -> None:
        """Race until nobody is better, or Spent is raised; `ended` says that it was not."""
        self.on_best(self.best)
        self._settle(start_per_s)
        # A new best has other neighbours, and who lost in a quicker minute may try again.
        while self._round() or self._second_chance():
            pass
        self.ended = True

    def _round(self) -> int:
        """Have every challenger that there is race; how many there were."""
        return len([self._challenge(challenger) for challenger in self._challengers()])

    def _second_chance(self) -> bool:
        """Whether there is a new best among those that missed, who may have had bad luck; the fewer
        were late, the sooner one is asked again."""
        self._since_check.clear()
        return any(self._challenge(challenger) for challenger in self._by_late_share())

    def _challengers(self) -> Iterator[Candidate]:
        """Those beside the best that were not measured yet; of the best of the moment."""
        for axis in self.space.axes:
            for challenger in list(self.space.along(axis, self.best)):
                if challenger in self._tried:
                    continue
                if self._is_hopeless(challenger):
                    self.pruned.add(challenger)
                    continue
                self._tried.add(challenger)
                yield challenger

    def _by_late_share(self) -> list[Candidate]:
        return sorted(
            self._lost, key=lambda one: self._lost[one].late / max(1, self._lost[one].sent)
        )

    def _is_hopeless(self, challenger: Candidate) -> bool:
        return self.rate_per_s is not None and self.hopeless(challenger, self.rate_per_s)

    def _settle(self, start_per_s: float) -> None:
        """Find what the settings carry as they are."""
        search = RateSearch(self.slo, start_per_s, SETTLED)
        while (rate_per_s := search.next_per_s()) is not None:
            search.note(self._ask(self.best, rate_per_s))
            self.rate_per_s = search.met_per_s
        beyond = search.known.get(search.missed_per_s or 0.0, [])
        self.by_cost = self.rate_per_s is not None and any(one.is_generator_full for one in beyond)

    def _ask(self, candidate: Candidate, rate_per_s: float) -> Judged:
        judged = self.probe(candidate, rate_per_s)
        self.found.setdefault(candidate, []).append(judged)
        return judged

    def _meets(self, judged: Judged) -> bool:
        return is_met([judged], self.slo)

    def _challenge(self, challenger: Candidate) -> bool:
        """Whether it is the best now."""
        if self.rate_per_s is None:
            return self._rescue(challenger)
        if self.by_cost:
            return self._underbid(challenger, self.rate_per_s)
        target_per_s, step = self.rate_per_s * (1 + MARGIN), 1 + MARGIN
        while self._meets(judged := self._ask(challenger, target_per_s)):
            self.ahead = challenger
            if not self._meets(self._ask(self.best, target_per_s)):
                self._crown(challenger, target_per_s)
                self._climb(target_per_s)
                return True
            # The machine is quicker than it was, or the best was taken for less than it is.
            self.rate_per_s = target_per_s
            self._since_check.clear()
            target_per_s *= step
            step *= 1 + MARGIN
        self.ahead = None
        self._has_lost(challenger, judged)
        return False

    def _crown(self, challenger: Candidate, rate_per_s: float) -> None:
        self.best, self.rate_per_s, self.ahead = challenger, rate_per_s, None
        self._lost.pop(challenger, None)
        self._since_check.clear()
        self.on_best(challenger)

    def _climb(self, rate_per_s: float) -> None:
        """Find how far a new best carries."""
        step = CLIMB
        while self._meets(self._ask(self.best, rate_per_s * step)):
            rate_per_s *= step
            self.rate_per_s = rate_per_s
            step *= CLIMB
        while step > 1 + 2 * MARGIN:
            step = math.sqrt(step)
            if self._meets(self._ask(self.best, rate_per_s * step)):
                rate_per_s *= step
                self.rate_per_s = rate_per_s

    def _has_lost(self, challenger: Candidate, judged: Judged) -> None:
        """It stays out, unless the best cannot do any more what it was asked to surpass."""
        self._lost[challenger] = judged
        self._since_check.append(challenger)
        if len(self._since_check) < RECHECK:
            return
        suspects, self._since_check = self._since_check, []
        assert self.rate_per_s is not None
        lowered = False
        while not self._meets(self._ask(self.best, self.rate_per_s)):
            # The first miss may be an accident.
            if lowered or not self._meets(self._ask(self.best, self.rate_per_s)):
                self.rate_per_s /= 1 + MARGIN
                lowered = True
            else:
                break
        if lowered:
            # They were asked for more than the machine gave at the time.
            for suspect in suspects:
                self._lost.pop(suspect, None)
                self._tried.discard(suspect)

    def _rescue(self, challenger: Candidate) -> bool:
        """What is set now carries nothing: whoever carries the least that was offered is better."""
        lowest = min(judged.rate_per_s for judged in self.found[self.space.base])
        judged = self._ask(challenger, lowest)
        if not self._meets(judged):
            self._lost[challenger] = judged
            return False
        self._crown(challenger, lowest)
        self._climb(lowest)
        return True

    def _underbid(self, challenger: Candidate, rate_per_s: float) -> bool:
        """Whether it carries the same with less of the CPU than the best, one after the other."""
        judged = self._ask(challenger, rate_per_s)
        rival = self._ask(self.best, rate_per_s) if self._meets(judged) else None
        if rival is not None and is_cheaper(judged, rival):
            self._crown(challenger, rate_per_s)
            return True
        self._lost[challenger] = judged
        return False


def is_cheaper(one: Judged, other: Judged) -> bool:
    """Whether a request took less of the server's CPU; not where that is unknown."""
    if one.cpu_ms is None or other.cpu_ms is None:
        return False
    return one.cpu_ms < (1 - CHEAPER) * other.cpu_ms
