"""What holds for every mixture of arrivals, deadlines, cancels, losses and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from inferctl.engine.batcher import Batch, Batcher, Row


@dataclass
class Life:
    """A batcher in use, and what became of each of its rows."""

    batcher: Batcher
    now_s: float = 0.0
    arrived: list[Row] = field(default_factory=list)
    waiting: list[Row] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)
    ran: list[Row] = field(default_factory=list)
    dropped: list[Row] = field(default_factory=list)
    lost: list[Row] = field(default_factory=list)

    def arrive(self, deadlines_s: list[float]) -> None:
        rows = [
            Row(len(self.arrived) + number, self.now_s, self.now_s + deadline_s)
            for number, deadline_s in enumerate(deadlines_s)
        ]
        self.arrived += rows
        self.waiting += rows
        self.batcher.add(rows)

    def cancel(self, slot: int) -> None:
        self.cancelled.add(slot)

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds

    def lose(self, divisor: int) -> None:
        """A worker dies that owned every `divisor`-th slot."""
        expected = [row for row in self.waiting if row.slot % divisor == 0]
        assert self.batcher.remove(lambda slot: slot % divisor == 0) == expected
        self.lost += expected
        self.waiting = [row for row in self.waiting if row not in expected]

    def take(self, _: int = 0) -> Batch:
        self.check_leaving()
        batch = self.batcher.take(self.now_s, self.cancelled.__contains__)
        self.check_batch(batch)
        self.ran += batch.rows
        self.dropped += [row for row, _ in batch.dropped]
        left = len(batch.rows) + len(batch.dropped)
        # The oldest leave, none is passed over, and within a batch their order is kept.
        gone = sorted([*batch.rows, *(row for row, _ in batch.dropped)], key=lambda row: row.slot)
        assert gone == self.waiting[:left]
        assert batch.rows == sorted(batch.rows, key=lambda row: row.slot)
        del self.waiting[:left]
        return batch

    def check_leaving(self) -> None:
        leaves_s = self.batcher.leaves_at(self.now_s)
        assert (leaves_s is None) == (not self.waiting)
        if leaves_s is None:
            return
        most_urgent_s = min(row.deadline_s for row in self.waiting) - self.batcher.run_s
        latest_s = min(self.waiting[0].arrived_s + self.batcher.max_wait_s, most_urgent_s)
        assert leaves_s <= max(self.now_s, latest_s)
        if leaves_s > self.now_s:  # held: there is room, and waiting was asked for
            assert len(self.waiting) < self.batcher.max_batch_rows
            assert self.batcher.max_wait_s > 0

    def check_batch(self, batch: Batch) -> None:
        assert len(batch.rows) <= self.batcher.max_batch_rows
        for row in batch.rows:
            assert row.deadline_s > self.now_s
            assert row.slot not in self.cancelled
        for row, reason in batch.dropped:
            if reason == "cancelled":
                assert row.slot in self.cancelled
            else:
                assert row.deadline_s <= self.now_s
        if len(batch.rows) < self.batcher.max_batch_rows:
            assert len(batch.rows) + len(batch.dropped) == len(self.waiting)


# Eighths of a second add up without rounding.
SECONDS = st.integers(0, 40).map(lambda eighths: eighths / 8)

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just(Life.arrive), st.lists(SECONDS, max_size=6)),
        st.tuples(st.just(Life.cancel), st.integers(0, 30)),
        st.tuples(st.just(Life.pass_time), SECONDS),
        st.tuples(st.just(Life.take), st.just(0)),
        st.tuples(st.just(Life.lose), st.integers(2, 5)),
    ),
    max_size=40,
)
BATCHERS = st.builds(
    Batcher,
    max_batch_rows=st.integers(1, 7),
    max_wait_s=st.sampled_from([0.0, 0.125, 1.0, 4.0]),
    run_s=st.sampled_from([0.0, 0.5, 2.0]),
)


@hypothesis_settings(deadline=None, max_examples=300)
@given(batcher=BATCHERS, events=EVENTS)
def test_every_row_is_run_or_dropped_or_lost_once_and_in_order(
    batcher: Batcher, events: list[tuple[Callable[[Life, object], None], object]]
) -> None:
    life = Life(batcher)
    for happen, what in events:
        happen(life, what)
        assert len(batcher) == len(life.waiting)
    while len(batcher):
        batch = life.take()
        assert batch.rows or batch.dropped  # it always gets on
    assert life.ran == sorted(life.ran, key=lambda row: row.slot)
    ends = sorted([*life.ran, *life.dropped, *life.lost], key=lambda row: row.slot)
    assert ends == life.arrived


@hypothesis_settings(deadline=None)
@given(batcher=BATCHERS, deadlines_s=st.lists(SECONDS, min_size=1, max_size=10))
def test_a_runner_that_comes_when_told_never_lets_a_row_expire_in_its_hold(
    batcher: Batcher, deadlines_s: list[float]
) -> None:
    """A row that could still start in time when it arrived is run in time, if its turn comes."""
    batcher.run_s = max(batcher.run_s, 0.125)
    batcher.max_batch_rows = len(deadlines_s)
    life = Life(batcher)
    life.arrive(deadlines_s)
    leaves_s = batcher.leaves_at(0)
    assert leaves_s is not None
    life.pass_time(max(0.0, leaves_s))
    batch = life.take()
    assert all(row.deadline_s < batcher.run_s for row, _ in batch.dropped)
