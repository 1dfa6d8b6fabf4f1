"""Rows for a simulated engine: at a rate whatever becomes of them, or from clients that wait."""

from __future__ import annotations

import random
from typing import NamedTuple, Protocol


class Arrival(NamedTuple):
    """A row that will come."""

    at_s: float
    tokens: int = 1


class Traffic(Protocol):
    """Who sends rows, and when."""

    def begin(self) -> list[Arrival]:
        """The first rows."""

    def after_arrival(self, now_s: float) -> Arrival | None:
        """The row to come after one that just came."""

    def after_answer(self, now_s: float) -> Arrival | None:
        """The row that a client sends once it has its answer."""


class Poisson:
    """Rows that come at a rate (rows/s) whatever becomes of them, for so many seconds."""

    def __init__(self, rate: float, seconds: float, seed: int) -> None:
        self._rate, self._seconds = rate, seconds
        self._rng = random.Random(seed)

    def begin(self) -> list[Arrival]:
        """The first row."""
        first = self.after_arrival(0.0)
        return [first] if first else []

    def after_arrival(self, now_s: float) -> Arrival | None:
        """The next one."""
        at_s = now_s + self._rng.expovariate(self._rate)
        return Arrival(at_s) if at_s < self._seconds else None

    def after_answer(self, now_s: float) -> Arrival | None:
        """Nobody waits for an answer."""
        return None


class Closed:
    """Clients that each send a row, wait for its answer, and send the next one a little later.

    `pause_s` is the mean time between the two: the worker's, the network's and the client's.
    """

    def __init__(
        self, clients: int, lengths: tuple[int, int], pause_s: float, seconds: float, seed: int
    ) -> None:
        self._clients, self._lengths = clients, lengths
        self._pause_s, self._seconds = pause_s, seconds
        self._rng = random.Random(seed)

    def begin(self) -> list[Arrival]:
        """A row of each client."""
        return [arrival for _ in range(self._clients) if (arrival := self.after_answer(0.0))]

    def after_arrival(self, now_s: float) -> Arrival | None:
        """A client has one row at a time."""
        return None

    def after_answer(self, now_s: float) -> Arrival | None:
        """The client's next row."""
        at_s = now_s + self._rng.expovariate(1 / self._pause_s)
        return Arrival(at_s, self._rng.randint(*self._lengths)) if at_s < self._seconds else None
