"""What a gate says of a measurement: a case for each limit and each comparison."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that was judged, at one load: `detail` is what was found, `group` its kind."""

    group: str
    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """All cases. It passes when each does."""

    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Case, ...]:
        """Those that did not pass."""
        return tuple(case for case in self.cases if not case.passed)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def sentences(self) -> list[str]:
        """What failed first, then a line on the rest, then what to beware of."""
        kept = len(self.cases) - len(self.failed)
        told = [f"{case.name}: {case.detail}" for case in self.failed]
        if self.passed and len(self.cases) == 1:
            told += [f"{case.name} kept: {case.detail}" for case in self.cases]
        elif kept:
            told.append(f"{kept} of {len(self.cases)} checks passed.")
        return [*told, *self.notes]
