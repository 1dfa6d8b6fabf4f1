"""Bundles to tune, and benches that know what each candidate carries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.slo import parse_slo
from inferctl.settings import Settings
from inferctl.tune.plan import Plan, read_plan
from inferctl.tune.race import Spent
from inferctl.tune.space import Candidate
from tests.bench.measured import measurement
from tests.graphs import image_fields, image_graph, write_bundle

# What users get in a closed loop, whatever the limit.
CLOSED_PER_S = 120.0


@dataclass
class Benches:
    """Opens a bench for each candidate; each keeps the limit up to a capacity."""

    capacity_per_s: Callable[[Candidate], float] = lambda candidate: 100.0
    interrupted_at: int = 10_000
    spent_at: int = 10_000
    # Why the generator may have been the limit, wherever one was missed.
    client_limited: str | None = None
    opened: list[Candidate] = field(default_factory=list)
    closed: list[Candidate] = field(default_factory=list)
    most_up: int = 0
    loads: list[Load] = field(default_factory=list)

    @contextmanager
    def open(self, candidate: Candidate, limit_s: float) -> Iterator[Benches.Bench]:
        """As a server that is started, and ended at last."""
        self.opened.append(candidate)
        self.most_up = max(self.most_up, len(self.opened) - len(self.closed))
        try:
            yield Benches.Bench(self, candidate)
        finally:
            self.closed.append(candidate)

    @dataclass
    class Bench:
        """Measures at once: no time passes."""

        benches: Benches
        candidate: Candidate

        def measure(
            self, load: Load, *, windows: int, window_s: float, warmup_s: float,
            until_stable: bool = False,
        ) -> Measurement:  # fmt: skip
            """All are answered quickly, or all are late."""
            if len(self.benches.loads) >= self.benches.interrupted_at:
                raise KeyboardInterrupt
            if len(self.benches.loads) >= self.benches.spent_at:
                raise Spent
            self.benches.loads.append(load)
            rate_per_s = load.rate_per_s or CLOSED_PER_S
            late = rate_per_s > self.benches.capacity_per_s(self.candidate)
            sent = max(1, round(rate_per_s * window_s))
            return measurement(
                load, [900.0 if late else 5.0] * sent, seconds=window_s,
                client_limited=self.benches.client_limited if late else None,
            )  # fmt: skip


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The folder of a model with one version."""
    write_version(tmp_path / "models" / "net")
    return tmp_path / "models" / "net"


@pytest.fixture
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rule nothing out: what runs cost is measured in seconds."""
    monkeypatch.setattr("inferctl.tune.run.measured_curves", lambda *asked: {})


@pytest.fixture
def plan(bundle: Path, tmp_path: Path, no_curves: None) -> Plan:
    """Tune it for p99<50ms."""
    return plan_of(bundle, tmp_path)


def write_version(folder: Path, version: int = 1, **changes: Any) -> Path:
    """A version of a model that takes tensors."""
    fields = image_fields(name=folder.name, version=version, task="tensor", labels=[], **changes)
    del fields["image"]
    write_bundle(folder / str(version), image_graph(), fields)
    return folder / str(version)


def plan_of(model: Path, folder: Path, settings: Settings | None = None) -> Plan:
    """A plan with the usual question; what is measured is kept in the folder."""
    return read_plan(
        model, [], settings or Settings(), config=None, flags={}, slo=parse_slo("p99<50ms"),
        budget_s=60.0, data=None, state=folder / "state",
    )  # fmt: skip
