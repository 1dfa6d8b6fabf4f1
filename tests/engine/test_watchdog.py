"""The watchdog: which runs are told to end, when, and what the supervisor can see of it."""

from __future__ import annotations

import mmap

import pytest

from inferctl.arena.ledger import LOOKED_S, OVERDUE_S, Ledger, ledger_bytes
from inferctl.engine import watchdog as watchdog_module
from inferctl.engine.watchdog import LOOK_S, Rows, Stint, Watchdog, limit_s
from inferctl.progress import LONGEST_LOOK_S

LIMIT_S = 2.0


class Watching:
    """A watchdog over one stint; time and CPU pass as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.block = Ledger(mmap.mmap(-1, ledger_bytes(2)), 0).blocks[Ledger.ENGINE]
        self.watchdog = Watchdog(self.block)
        self.wanted = True
        self.stint = Stint(lambda rows, patience: patience * LIMIT_S, self._is_wanted)
        self.watchdog.watch(self.stint)
        self.now_s = 100.0
        self.cpu_s = 0.0
        self.wants_cpu = True
        monkeypatch.setattr(watchdog_module, "wants_cpu", lambda pid, but: self.wants_cpu)

    def _is_wanted(self, rows: Rows, now_s: float) -> bool:
        return self.wanted

    def passes(self, seconds: float, cpu: float = 1.0, look_s: float = LOOK_S) -> None:
        """Time in which the process gets a share of a core, looked at every so often."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += look_s
            self.cpu_s += cpu * look_s
            self.watchdog.look(self.now_s, self.cpu_s)

    def begin(self) -> None:
        self.stint.begin((), self.now_s)

    @property
    def is_told(self) -> bool:
        return bool(self.stint.options.terminate)

    def says(self, cell: int) -> float:
        return self.block.state(cell).get()


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Watching:
    return Watching(monkeypatch)


@pytest.mark.parametrize(
    ("expected_s", "longest_s"), [(0, 2), (0.1, 2), (0.5, 5), (2, 10), (4, 10), (8, 16)]
)
def test_a_run_may_take_ten_times_what_is_expected_within_bounds(
    expected_s: float, longest_s: float
) -> None:
    assert limit_s(expected_s) == longest_s


@pytest.mark.row(87)
def test_a_run_is_told_to_end_at_its_limit_and_the_supervisor_sees_it(watching: Watching) -> None:
    watching.begin()
    watching.passes(LIMIT_S - 2 * LOOK_S)
    assert not watching.is_told
    watching.passes(4 * LOOK_S)
    assert watching.is_told
    assert watching.stint.is_overdue
    assert watching.stint.was_ended(watching.stint.begun_s)
    overdue_s = watching.says(OVERDUE_S)
    assert watching.now_s - 4 * LOOK_S < overdue_s <= watching.now_s
    watching.passes(1)
    assert watching.says(OVERDUE_S) == overdue_s, "since when"
    watching.stint.begun_s = 0.0
    watching.passes(LOOK_S)
    assert watching.says(OVERDUE_S) == 0
    assert watching.block.cell("inferctl_engine_timeouts_total").get() == 1


def test_runs_that_follow_each_other_are_not_one_long_run(watching: Watching) -> None:
    for _ in range(10):
        watching.begin()
        watching.passes(LIMIT_S / 2)
    assert not watching.is_told


def test_a_stint_of_little_patience_has_less_time(watching: Watching) -> None:
    watching.stint.patience = 0.25
    watching.begin()
    watching.passes(LIMIT_S / 4 + 3 * LOOK_S)
    assert watching.is_told


@pytest.mark.row(8)
def test_a_run_that_nobody_waits_for_is_told_to_end_and_is_not_overdue(watching: Watching) -> None:
    watching.begin()
    watching.passes(0.2)
    assert not watching.is_told
    watching.wanted = False
    watching.passes(LOOK_S)
    assert watching.is_told
    assert not watching.stint.is_overdue
    assert watching.says(OVERDUE_S) == 0


def test_a_run_that_nobody_waits_for_and_that_does_not_end_is_overdue_at_its_limit(
    watching: Watching,
) -> None:
    watching.wanted = False
    watching.begin()
    watching.passes(LIMIT_S + 3 * LOOK_S)
    assert watching.says(OVERDUE_S) > 0


@pytest.mark.row(14)
def test_a_run_that_wants_a_core_and_has_none_is_given_time(watching: Watching) -> None:
    watching.begin()
    watching.passes(3 * LIMIT_S, cpu=0.1)
    assert not watching.is_told
    watching.passes(3 * LIMIT_S, cpu=0.5)
    assert watching.is_told


def test_a_run_that_sleeps_is_not_starved(watching: Watching) -> None:
    watching.wants_cpu = False
    watching.begin()
    watching.passes(LIMIT_S + 3 * LOOK_S, cpu=0.0)
    assert watching.is_told


def test_while_the_watchdog_does_not_run_nothing_does(watching: Watching) -> None:
    """As of a process that was stopped, and goes on after a while."""
    watching.begin()
    watching.passes(10, look_s=10)
    watching.passes(10, look_s=10)
    assert not watching.is_told
    watching.passes(LIMIT_S, look_s=LONGEST_LOOK_S)
    assert watching.is_told


def test_that_it_looked_is_said_each_time(watching: Watching) -> None:
    watching.passes(1)
    assert watching.says(LOOKED_S) == watching.now_s


def test_an_end_that_comes_too_late_is_not_the_next_runs(watching: Watching) -> None:
    stint = watching.stint
    stint.begin((), 1.0)
    first = stint.options
    stint.end(1.0, is_overdue=True)
    stint.begin((), 2.0)
    assert not stint.options.terminate
    stint.begin((), 3.0)
    stint.end(2.0, is_overdue=True)  # meant for the run before
    assert stint.options is not first
    assert not stint.was_ended(3.0)


class Overtaken(Stint):
    """Whose next run begins while the one before it is told to end."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "is_overdue" and self._ended_s:
            self.begin((), 2.0)


def test_a_run_that_begins_while_another_one_is_ended_goes_on() -> None:
    stint = Overtaken(lambda rows, patience: LIMIT_S)
    stint.begin((), 1.0)
    stint.end(1.0, is_overdue=True)
    assert not stint.options.terminate


def test_a_run_gives_way_though_it_is_only_about_to_begin(watching: Watching) -> None:
    stint = watching.stint
    stint.begin((), 1.0)
    stint.end(1.0, is_overdue=False)
    stint.give_way()
    stint.begin((), 2.0)  # with options of its own, since those of the run before were told to end
    assert stint.options.terminate
    assert not stint.was_ended(2.0)
    stint.go_on()
    stint.begin((), 3.0)
    assert not stint.options.terminate
    assert not stint.gives_way


def test_a_run_that_gave_way_is_no_timeout_nor_are_all_its_runs_together(
    watching: Watching,
) -> None:
    for _ in range(10):
        watching.begin()
        watching.passes(LIMIT_S / 2)
        watching.stint.give_way()
        watching.stint.begun_s = 0.0
        watching.stint.go_on()
    assert not watching.is_told
    assert watching.says(OVERDUE_S) == 0
    assert watching.block.cell("inferctl_engine_timeouts_total").get() == 0


def test_who_is_no_longer_watched_may_take_for_ever(watching: Watching) -> None:
    watching.watchdog.unwatch(watching.stint)
    watching.begin()
    watching.passes(2 * LIMIT_S)
    assert not watching.is_told
