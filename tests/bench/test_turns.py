"""By turns every bench has its windows in the same moments, whoever comes first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from inferctl.bench.gate.regression import MIN_WINDOWS
from inferctl.bench.measurement import Load, NothingAnswered, Window
from inferctl.bench.turns import MIN_REQUESTS, SHORTEST_S, by_turns
from inferctl.errors import BenchError
from tests.bench.made import window

LOAD = Load(users=8)


class Scripted:
    """A bench whose load says when its turn comes, and that raises in the n-th ones."""

    def __init__(
        self, name: str, said: list[str], error: BaseException | None = None, at: int = 1,
        until: int | None = None, per_s: int = 1000,
    ) -> None:  # fmt: skip
        self.name, self.said, self.error, self.per_s = name, said, error, per_s
        self.failing = range(at, (until or at) + 1)
        self.taken = 0

    @contextmanager
    def offering(self, load: Load) -> Iterator[Scripted]:
        """It offers itself, and says in capitals when it does so no more."""
        assert load == LOAD
        yield self
        self.said.append(self.name.upper())

    def take_turn(self, window_s: float, since_s: float) -> Window:
        """One window."""
        self.said.append(self.name)
        self.taken += 1
        if self.error is not None and self.taken in self.failing:
            raise self.error
        latencies_ms = [1.0] * round(self.per_s * window_s)
        return window(latencies_ms, begun_s=float(len(self.said)), duration_s=window_s)

    def client_limit(self) -> str | None:
        """Its name."""
        return self.name


def test_who_comes_first_changes_from_turn_to_turn() -> None:
    """After each was tried, in windows that are as short as they may be."""
    said: list[str] = []
    found = by_turns([Scripted(name, said) for name in "abc"], LOAD, 5 * SHORTEST_S)
    assert "".join(said) == "abc" + "abccbaabccbaabc" + "CBA"
    for one in found:
        assert [part.duration_s for part in one.windows] == [SHORTEST_S] * 5
        assert not one.interrupted
        assert one.by_turns
        assert one.load == LOAD
    assert [one.client_limited for one in found] == ["a", "b", "c"]
    assert [part.begun_s for part in found[2].windows] == [6, 7, 12, 13, 18]


@pytest.mark.parametrize(
    ("per_s", "window_s"), [(1000, SHORTEST_S), (60, MIN_REQUESTS / 60), (2, 10.0 / MIN_WINDOWS)]
)
def test_a_window_is_long_enough_for_the_slowest(per_s: int, window_s: float) -> None:
    benches = [Scripted("a", []), Scripted("b", [], per_s=per_s)]
    for one in by_turns(benches, LOAD, 10.0):
        assert len(one.windows) == round(10.0 / window_s)
        assert one.windows[0].duration_s == pytest.approx(window_s)


def test_a_ctrl_c_leaves_the_turns_that_all_have() -> None:
    said: list[str] = []
    benches = [Scripted("a", said), Scripted("b", said, KeyboardInterrupt(), at=3)]
    found = by_turns(benches, LOAD, 5.0)
    assert "".join(said) == "ab" + "abb" + "BA"
    assert [len(one.windows) for one in found] == [1, 1]
    assert all(one.interrupted for one in found)
    assert [one.client_limited for one in found] == ["a", "b"]


def test_a_ctrl_c_in_the_trial_leaves_none() -> None:
    benches = [Scripted("a", []), Scripted("b", [], KeyboardInterrupt())]
    found = by_turns(benches, LOAD, 5.0)
    assert [len(one.windows) for one in found] == [0, 0]
    assert all(one.interrupted for one in found)


def test_a_load_that_fails_fails_all() -> None:
    benches = [Scripted("a", []), Scripted("b", [], BenchError("it crashed"))]
    with pytest.raises(BenchError, match="it crashed"):
        by_turns(benches, LOAD, 5.0)


def test_somebody_may_count_the_turns() -> None:
    seen: list[tuple[int, int]] = []
    by_turns([Scripted("a", [])], LOAD, 5 * SHORTEST_S, lambda *turn: seen.append(turn))
    assert seen == [(turn, 5) for turn in range(5)]


def test_a_turn_without_answers_counts_for_nobody() -> None:
    said: list[str] = []
    benches = [Scripted("a", said), Scripted("b", said, NothingAnswered("none"), at=4, until=5)]
    found = by_turns(benches, LOAD, 40 * SHORTEST_S)
    assert [len(one.windows) for one in found] == [38, 38]


def test_a_server_that_often_answers_nothing_is_an_error() -> None:
    benches = [Scripted("a", []), Scripted("b", [], NothingAnswered("none"), at=4, until=6)]
    with pytest.raises(NothingAnswered, match="none"):
        by_turns(benches, LOAD, 40 * SHORTEST_S)
