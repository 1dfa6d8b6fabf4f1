"""What a measurement is: a load, and what client and server counted of it in windows of time.

Pure values. A report, a search for the best configuration and a gate are made of these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inferctl.bench.figures import ClientFigures, ServerFigures, latency_of
from inferctl.bench.together import together
from inferctl.errors import BenchError, UsageError

Arrivals: TypeAlias = Literal["constant", "poisson", "replay"]

STABLE_WINDOWS = 3
TOLERANCE = 0.1


@dataclass(frozen=True, slots=True)
class Load:
    """What is offered: `users` in a closed loop, or `rate_per_s` in an open one.

    Exactly one is given, else UsageError is raised. `arrivals` is of the open loop only. Windows of
    a load with a `shape` are not expected to agree.
    """

    users: int | None = None
    rate_per_s: float | None = None
    arrivals: Arrivals = "poisson"
    # As `--shape` has it: the load is users or rate times a share that changes with time.
    shape: str | None = None

    def __post_init__(self) -> None:
        if (self.users is None) == (self.rate_per_s is None):
            raise UsageError("a load has users or a rate", hint="give --users or --rate")

    @property
    def label(self) -> str:
        """The load in words: `8 users`, `150 requests/s (poisson)`."""
        if self.users is not None:
            return f"{self.users} user{'s' * (self.users != 1)}"
        return f"{self.rate_per_s:g} requests/s ({self.arrivals})"


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of time under a load, and what client and server counted in it.

    `begun_s` is since the start of the measurement, the warm-up included. `latencies_ms` are those
    of every good answer, float64, in order of begin, and `begins_s` when each of these began since
    the window did: in an open loop when it was to be sent. `generator_cpu_cores` is of the busiest
    process of the generator.
    """

    begun_s: float
    duration_s: float
    client: ClientFigures
    server: ServerFigures
    generator_cpu_cores: float | None
    latencies_ms: NDArray[np.float64]
    begins_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A load and its windows, of which those from `counted_from` on count together.

    `stable` says whether the last STABLE_WINDOWS agree (see `agree`). `client_limited` is why the
    generator, not the server, was the limit, or None. `interrupted`: it ended before its time.
    `failure` is why there are no windows, where one of several loads failed. `by_turns`: between
    its windows others were measured.
    """

    load: Load
    windows: tuple[Window, ...]
    stable: bool
    client_limited: str | None
    interrupted: bool = False
    counted_from: int = 0
    failure: str | None = None
    by_turns: bool = False

    @property
    def counted(self) -> tuple[Window, ...]:
        """The windows that count."""
        return self.windows[self.counted_from :]

    @property
    def duration_s(self) -> float:
        """How long they were together."""
        return sum(window.duration_s for window in self.counted)

    @property
    def latencies_ms(self) -> NDArray[np.float64]:
        """Of every good answer of theirs, in order of begin."""
        return np.concatenate([np.empty(0), *(window.latencies_ms for window in self.counted)])

    @property
    def generator_cpu_cores(self) -> float | None:
        """Cores that the generator's busiest process used in the window where it used most."""
        return most_cores(self.counted)

    @property
    def achieved_per_s(self) -> float:
        """Good answers per second."""
        return self.client.throughput_per_s

    @property
    def client(self) -> ClientFigures:
        """The client's figures over the windows that count."""
        seen = [window.client for window in self.counted]
        errors: Counter[str] = Counter()
        for one in seen:
            errors.update(one.errors)
        answered, latencies_ms = sum(one.answered for one in seen), self.latencies_ms
        # Of each window, all requests of the measurement are inside or outside.
        total = max((one.answered + one.failed + one.outside_window for one in seen), default=0)
        return ClientFigures(
            answered=answered,
            throughput_per_s=answered / self.duration_s if self.duration_s else 0.0,
            latency=latency_of(latencies_ms) if len(latencies_ms) else None,
            errors=dict(sorted(errors.items())),
            outside_window=max(total - answered - errors.total(), 0),
        )

    @property
    def server(self) -> ServerFigures:
        """The server's figures over them: sums, and means weighted by requests or batches."""
        return together([window.server for window in self.counted])


class NothingAnswered(BenchError):
    """No request of any window was: the server's fault, and not the generator's."""


class Bench(Protocol):
    """Bodies, a target and a generator that are ready: every `measure` is a load of its own."""

    def measure(
        self, load: Load, *, windows: int, window_s: float, warmup_s: float,
        until_stable: bool = False,
    ) -> Measurement:  # fmt: skip
        """Offer `load` for a warm-up and `windows` windows of `window_s` seconds.

        With `until_stable` it ends once STABLE_WINDOWS agree, and only these count. Raises
        NothingAnswered, and BenchError when the generator fails.
        """
        ...


def most_cores(windows: Iterable[Window]) -> float | None:
    """Cores of the generator's busiest process where it used most; None if none is known."""
    used = (window.generator_cpu_cores for window in windows)
    return max((cores for cores in used if cores is not None), default=None)


def agree(windows: Sequence[Window]) -> bool:
    """Whether the last STABLE_WINDOWS are alike in throughput and in median and p99 latency.

    Each of the three figures is within TOLERANCE of its mean over these windows. Fewer windows, or
    one without an answer, do not agree.
    """
    last = [window.client for window in windows[-STABLE_WINDOWS:]]
    figures = [
        (one.throughput_per_s, one.latency.p50_ms, one.latency.p99_ms)
        for one in last
        if one.latency is not None
    ]
    if len(figures) < STABLE_WINDOWS:
        return False
    table = np.array(figures)
    means = table.mean(axis=0)
    return bool((np.abs(table - means) <= TOLERANCE * means).all())
