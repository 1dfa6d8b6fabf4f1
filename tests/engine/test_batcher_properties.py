"""What holds for every mixture of arrivals, lengths, priorities, cancels, losses and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from inferctl.engine.batcher import BULK_AGEING_S, BULK_SHARE, Batch, Batcher
from inferctl.engine.lane import Row

# Seconds until the deadline, length, bulk.
Wish = tuple[float, int, bool]


@dataclass
class Life:
    """A batcher in use, and what became of each of its rows."""

    batcher: Batcher
    now_s: float = 0.0
    # When bulk rows last had their turn, whoever else waited.
    turn_s: float = -inf
    arrived: list[Row] = field(default_factory=list)
    waiting: list[Row] = field(default_factory=list)
    cancelled: set[int] = field(default_factory=set)
    ran: list[Row] = field(default_factory=list)
    dropped: list[Row] = field(default_factory=list)
    lost: list[Row] = field(default_factory=list)

    def arrive(self, wishes: list[Wish]) -> None:
        rows = [
            Row(len(self.arrived) + number, self.now_s, self.now_s + deadline_s, tokens, bulk)
            for number, (deadline_s, tokens, bulk) in enumerate(wishes)
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
        assert by_slot(self.batcher.remove(lambda slot: slot % divisor == 0)) == expected
        self.lost += expected
        self.waiting = [row for row in self.waiting if row not in expected]

    def take(self, _: int = 0) -> Batch:
        leaves_s = self.batcher.leaves_at(self.now_s)
        batch = self.batcher.take(self.now_s, self.cancelled.__contains__)
        self.check_leaving(batch, leaves_s)
        self.check_drops(batch)
        self.check_rows(batch)
        self.check_priorities(batch)
        self.check_share(batch)
        gone = [*batch.rows, *(row for row, _ in batch.dropped)]
        assert len(set(gone)) == len(gone)
        assert set(gone) <= set(self.waiting)
        self.ran += batch.rows
        self.dropped += [row for row, _ in batch.dropped]
        self.waiting = [row for row in self.waiting if row not in gone]
        return batch

    def give_way(self, _: int = 0) -> None:
        """The next batch is taken, and put back where it came from if it is one of bulk rows."""
        waiting = [row for row in self.waiting if self.is_alive(row)]
        batch = self.take()
        if batch.bulk:
            self.ran = [row for row in self.ran if row not in batch.rows]
            self.waiting = [r for r in self.arrived if r in batch.rows or r in self.waiting]
            self.batcher.put_back(batch.rows)
            assert all(row in self.waiting for row in waiting)

    def is_late(self, row: Row) -> bool:
        run_s = self.batcher.run_s
        had_time = row.deadline_s - row.arrived_s > run_s
        return row.deadline_s <= self.now_s + (run_s if had_time else 0)

    def is_alive(self, row: Row) -> bool:
        return not self.is_late(row) and row.slot not in self.cancelled

    def check_leaving(self, batch: Batch, leaves_s: float | None) -> None:
        assert (leaves_s is None) == (not self.waiting)
        if leaves_s is None:
            return
        next_ones = [row for row in self.waiting if row.bulk == batch.bulk]
        most_urgent_s = min(row.deadline_s for row in next_ones) - self.batcher.run_s
        latest_s = min(next_ones[0].arrived_s + self.batcher.max_wait_s, most_urgent_s)
        assert leaves_s <= max(self.now_s, latest_s)
        if leaves_s > self.now_s:  # held: there is room, and waiting was asked for
            assert len(next_ones) < self.batcher.max_batch_rows
            assert self.batcher.max_wait_s > 0

    def check_drops(self, batch: Batch) -> None:
        for row, reason in batch.dropped:
            if reason == "cancelled":
                assert row.slot in self.cancelled
            else:
                assert self.is_late(row)

    def check_rows(self, batch: Batch) -> None:
        rows = batch.rows
        assert len(rows) <= self.batcher.max_batch_rows
        assert all(map(self.is_alive, rows))
        tokens, whole = (
            sum(r.tokens for r in rows),
            len(rows) * max([r.tokens for r in rows] or [0]),
        )
        assert whole - tokens <= self.batcher.max_padding * whole
        assert (batch.tokens, batch.longest * len(rows)) == (tokens, whole)
        for length in {row.tokens for row in rows}:
            for bulk in (True, False):
                self.check_order(batch, length, bulk)

    def check_order(self, batch: Batch, length: int, bulk: bool) -> None:
        """Of one length and priority the oldest are taken, in the order of their arrival."""

        def alike(row: Row) -> bool:
            return row.tokens == length and row.bulk == bulk

        taken = [row for row in batch.rows if alike(row)]
        assert taken == [r for r in self.waiting if alike(r) and self.is_alive(r)][: len(taken)]

    def check_priorities(self, batch: Batch) -> None:
        """All of one priority, led by the oldest of it, whatever its length."""
        assert all(row.bulk == batch.bulk for row in batch.rows)
        leaders = [r for r in self.waiting if r.bulk == batch.bulk and self.is_alive(r)]
        if leaders:
            assert batch.rows[0].arrived_s == leaders[0].arrived_s
        if len({row.tokens for row in self.waiting}) <= 1:  # all fit: as many as there is room for
            assert len(batch.rows) == min(self.batcher.max_batch_rows, len(leaders))

    def check_share(self, batch: Batch) -> None:
        """Beside interactive rows bulk ones have their turn once the oldest of them waited for so
        long, and so long after the last one that a run is no more than their share of it; and not
        before."""
        bulk = [row for row in self.waiting if row.bulk]
        if not bulk:
            assert not batch.bulk
            return
        waited_s = self.now_s - max(self.turn_s, bulk[0].arrived_s)
        is_share = self.batcher.run_s <= BULK_SHARE * waited_s
        has_turn = waited_s >= BULK_AGEING_S and is_share
        assert batch.bulk == (has_turn or bulk == self.waiting)
        if has_turn:
            self.turn_s = self.now_s


def by_slot(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row.slot)


# Eighths of a second add up without rounding.
SECONDS = st.integers(0, 40).map(lambda eighths: eighths / 8)
LENGTHS = st.one_of(st.just(8), st.integers(0, 12), st.sampled_from([1, 64, 512]))
WISHES = st.tuples(SECONDS, LENGTHS, st.booleans())

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just(Life.arrive), st.lists(WISHES, max_size=6)),
        st.tuples(st.just(Life.cancel), st.integers(0, 30)),
        st.tuples(st.just(Life.pass_time), SECONDS),
        st.tuples(st.just(Life.take), st.just(0)),
        st.tuples(st.just(Life.give_way), st.just(0)),
        st.tuples(st.just(Life.lose), st.integers(2, 5)),
    ),
    max_size=40,
)
BATCHERS = st.builds(
    Batcher,
    max_batch_rows=st.integers(1, 7),
    max_wait_s=st.sampled_from([0.0, 0.125, 1.0, 4.0]),
    run_s=st.sampled_from([0.0, 0.5, 2.0]),
    max_padding=st.sampled_from([0.0, 0.125, 0.25, 0.75]),
)


@hypothesis_settings(deadline=None, max_examples=300)
@given(batcher=BATCHERS, events=EVENTS)
def test_every_row_is_run_or_dropped_or_lost_once(
    batcher: Batcher, events: list[tuple[Callable[[Life, object], None], object]]
) -> None:
    life = Life(batcher)
    for happen, what in events:
        happen(life, what)
        assert len(batcher) == len(life.waiting)
    while len(batcher):
        batch = life.take()
        assert batch.rows or batch.dropped  # it always gets on
    assert by_slot([*life.ran, *life.dropped, *life.lost]) == life.arrived


@hypothesis_settings(deadline=None)
@given(batcher=BATCHERS, wishes=st.lists(WISHES, min_size=1, max_size=8))
def test_a_held_batch_leaves_while_its_rows_still_make_it(
    batcher: Batcher, wishes: list[Wish]
) -> None:
    """Run when `leaves_at` says, only rows die that had no time for a run to begin with, and bulk
    rows that waited for interactive ones."""
    life = Life(batcher)
    life.arrive(wishes)
    leaves_s = batcher.leaves_at(0.0)
    assert leaves_s is not None
    life.pass_time(max(0.0, leaves_s))
    batch = life.take()
    had_to_wait = batch.bulk and not all(row.bulk for row in life.arrived)
    assert had_to_wait or all(row.deadline_s <= batcher.run_s for row, _ in batch.dropped)


@hypothesis_settings(deadline=None)
@given(rows=st.integers(1, 7), load=st.lists(LENGTHS, min_size=1, max_size=9), bulk=LENGTHS)
def test_a_bulk_row_is_run_however_busy_the_service_is(
    rows: int, load: list[int], bulk: int
) -> None:
    """As many interactive rows arrive as leave, an eighth of a second apart."""
    life = Life(Batcher(rows))
    life.arrive([(1000.0, bulk, True), *((1000.0, tokens, False) for tokens in load)])
    for turn in range(200):
        life.pass_time(0.125)
        batch = life.take()
        if life.arrived[0] in batch.rows:
            break
        life.arrive([(1000.0, load[(turn + n) % len(load)], False) for n in range(len(batch.rows))])
    # It has aged, and no more than those that were there then went before it.
    assert life.arrived[0] in life.ran
    assert life.now_s <= BULK_AGEING_S + 0.125 * (len(load) + 1)
