"""The highest rate that keeps a limit: a search over what is known, one step at a time.

The rates are bracketed by growing steps, and the bracket is halved until it is narrow. What else a
machine does makes it slower, and never quicker: that a rate was kept is soon believed, and that it
was missed is not, before it is missed again at once. At the end the rate that was kept must be kept
again too. Where two looks differ a third one decides, and the search goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from inferctl.bench.slo import Judged, Slo, is_met

# The bracket that is narrow enough: its upper end over its lower one, less 1.
PRECISION = 0.03
# A rate is left behind in steps of this factor, which grow while nothing is bracketed.
STEP = 1.25
# Below this nothing is measured: a request may take minutes.
LOWEST_PER_S = 0.05
# How often each end of the bracket is measured.
LOOKS = 2


def looks_kept(judged: Sequence[Judged], slo: Slo) -> int:
    """At how many of the looks at a rate the limit was kept."""
    return sum(is_met([one], slo) for one in judged)


def is_kept(judged: Sequence[Judged], slo: Slo) -> bool:
    """Whether most looks at a rate kept the limit; where as many did not, all looks together.

    A stall makes a queue, and so many late that no other look could outweigh it by its requests.
    """
    kept = looks_kept(judged, slo)
    return is_met(judged, slo) if 2 * kept == len(judged) else 2 * kept > len(judged)


@dataclass(slots=True)
class RateSearch:
    """What is known of one server, by rate; `next_per_s` is the rate to offer next, if any.

    `step` is how far from `start_per_s` the first steps lead, up or down.
    """

    slo: Slo
    start_per_s: float
    precision: float = PRECISION
    looks: int = LOOKS
    step: float = STEP
    known: dict[float, list[Judged]] = field(default_factory=dict)

    def note(self, judged: Judged) -> None:
        """A measurement at a rate."""
        self.known.setdefault(judged.rate_per_s, []).append(judged)

    @property
    def missed_per_s(self) -> float | None:
        """The lowest rate at which the limit was missed."""
        missed = [rate for rate, judged in self.known.items() if not is_kept(judged, self.slo)]
        return min(missed, default=None)

    @property
    def met_per_s(self) -> float | None:
        """The highest rate below that at which it was kept."""
        below = math.inf if self.missed_per_s is None else self.missed_per_s
        met = (rate for rate, judged in self.known.items() if is_kept(judged, self.slo))
        return max((rate for rate in met if rate < below), default=None)

    def next_per_s(self) -> float | None:
        """The rate to offer next; None when the bracket is narrow and both ends were seen again."""
        low, high = self.met_per_s, self.missed_per_s
        if low is None and high is None:
            return self.start_per_s
        if high is not None and self._is_doubtful(high):
            return high
        if high is None:
            assert low is not None
            return low * self._step(rate >= self.start_per_s for rate in self.known)
        if low is None:
            lower = high / self._step(rate <= self.start_per_s for rate in self.known)
            return lower if lower >= LOWEST_PER_S else None
        if high > low * (1 + self.precision):
            return math.sqrt(low * high)
        return low if self._is_doubtful(low) else None

    def _is_doubtful(self, rate_per_s: float) -> bool:
        """Whether a rate must be looked at again."""
        seen = self.known[rate_per_s]
        return len(seen) < self.looks or 2 * looks_kept(seen, self.slo) == len(seen)

    def _step(self, taken: Iterable[bool]) -> float:
        """The next step in a direction: the first two are alike, each later one is larger."""
        return float(self.step ** max(1, sum(taken) - 1))


@dataclass(frozen=True, slots=True)
class Highest:
    """The highest rate that keeps the limit, or None, and how that was found.

    `missed_per_s` is the lowest rate that does not. `confirmed`: both were measured twice, and no
    more than PRECISION lies between them. `client_limited` is why the generator may have been the
    limit beyond `rate_per_s`, and the server carries more. `probes` are in their order.
    """

    slo: Slo
    rate_per_s: float | None
    missed_per_s: float | None
    confirmed: bool
    client_limited: str | None
    probes: tuple[Judged, ...]
    interrupted: bool = False


Probe = Callable[[float], Judged]


def find_highest(
    probe: Probe, slo: Slo, start_per_s: float, *,
    precision: float = PRECISION, most_probes: int = 32, looks: int = LOOKS,
) -> Highest:  # fmt: skip
    """Search from a first guess. `probe` offers a rate and judges it.

    Whatever `probe` raises ends the search; a KeyboardInterrupt leaves what was found until then.
    """
    search = RateSearch(slo, start_per_s, precision, looks)
    probes: list[Judged] = []
    rate_per_s = search.next_per_s()
    interrupted = False
    while rate_per_s is not None and len(probes) < most_probes:
        try:
            judged = probe(rate_per_s)
        except KeyboardInterrupt:
            interrupted = True
            break
        search.note(judged)
        probes.append(judged)
        rate_per_s = search.next_per_s()
    found = summed_up(search, probes, confirmed=rate_per_s is None)
    return replace(found, interrupted=interrupted)


def summed_up(search: RateSearch, probes: Sequence[Judged], *, confirmed: bool) -> Highest:
    """What a search came to."""
    beyond = search.known.get(search.missed_per_s or 0.0, [])
    limited = {one.client_limited for one in beyond if one.client_limited}
    return Highest(
        slo=search.slo,
        rate_per_s=search.met_per_s,
        missed_per_s=search.missed_per_s,
        confirmed=confirmed and search.met_per_s is not None,
        client_limited=next(iter(limited), None),
        probes=tuple(probes),
    )
