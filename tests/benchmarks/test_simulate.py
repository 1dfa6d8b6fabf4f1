"""The simulated engine: its arithmetic, and that nothing gets lost in it."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean

import pytest

from benchmarks.scenarios import (
    POLICIES,
    ROW_BUCKETS,
    RULES,
    Bench,
    Policy,
    by_rate,
    closed_loop,
    rate_sheets,
)
from benchmarks.simulate import parsed
from benchmarks.simulation import Device, Door, Outcome, Simulation
from benchmarks.traffic import Arrival
from inferctl.engine.batcher import Batcher
from inferctl.errors import UsageError

GPU = Device(fixed_s=0.001, token_s=0.0001, row_buckets=ROW_BUCKETS)
BENCH = Bench(GPU, seconds=0.5, seed=1, timeout_s=0.05)
IDLE_FIRST, WINDOW = Policy("idle-first", 32), Policy("window", 32, 0.010)


class Script:
    """Rows at moments that are written down."""

    def __init__(self, *arrivals: Arrival) -> None:
        self._arrivals = list(arrivals)

    def begin(self) -> list[Arrival]:
        return self._arrivals

    def after_arrival(self, now_s: float) -> Arrival | None:
        return None

    def after_answer(self, now_s: float) -> Arrival | None:
        return None


def scripted(*arrivals: Arrival, window_s: float = 0.0, instances: int = 1) -> Outcome:
    return Simulation(
        Batcher(4, window_s, GPU.run_s(4)), GPU, Script(*arrivals), 1.0, 1.0, instances
    ).outcome


def accounted(outcome: Outcome) -> int:
    return len(outcome.latencies_s) + outcome.dropped + outcome.refused


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.label)
@pytest.mark.parametrize("rate", [300, 5_000, 15_000])
def test_no_row_is_lost_and_none_is_quicker_than_its_run(policy: Policy, rate: float) -> None:
    outcome = BENCH.open_loop(policy, rate)

    assert outcome.arrived == pytest.approx(rate * BENCH.seconds, rel=0.3)
    assert accounted(outcome) == outcome.arrived
    assert sum(rows for rows, _ in outcome.batches) == len(outcome.latencies_s)
    assert max(rows for rows, _ in outcome.batches) <= policy.max_rows
    assert outcome.latencies_s[0] >= GPU.run_s(1) - 1e-9
    assert all(run_s >= GPU.run_s(rows) - 1e-9 for rows, run_s in outcome.batches)


def test_no_row_is_lost_when_nobody_is_refused() -> None:
    outcome = BENCH.open_loop(IDLE_FIRST, 30_000, Door(max_rows=10**9))

    assert outcome.dropped > 0
    assert outcome.refused == 0
    assert accounted(outcome) == outcome.arrived


def test_without_a_window_a_lone_row_leaves_at_once() -> None:
    assert scripted(Arrival(0.1)).latencies_s == pytest.approx([GPU.run_s(1)])


def test_with_a_window_a_lone_row_waits_for_its_end() -> None:
    assert scripted(Arrival(0.1), window_s=0.01).latencies_s == pytest.approx([0.01 + GPU.run_s(1)])


def test_a_full_batch_ends_the_window() -> None:
    outcome = scripted(*[Arrival(0.1 + row / 1000) for row in range(4)], window_s=0.01)

    assert outcome.batches == [(4, pytest.approx(GPU.run_s(4)))]
    assert outcome.latencies_s[0] == pytest.approx(GPU.run_s(4))


def test_rows_that_come_during_a_run_share_the_next() -> None:
    outcome = scripted(Arrival(0.1), Arrival(0.1001), Arrival(0.1002), Arrival(0.1003))

    assert [rows for rows, _ in outcome.batches] == [1, 3]


def test_rows_are_padded_to_a_bucket() -> None:
    outcome = scripted(Arrival(0.1), Arrival(0.1001), Arrival(0.1002), Arrival(0.1003))

    assert outcome.batches[1] == (3, pytest.approx(GPU.run_s(4)))
    assert outcome.padding == pytest.approx(1 / 5)


def test_two_instances_share_the_device() -> None:
    """The second run's fixed part overlaps, its rows wait for those of the first."""
    outcome = scripted(Arrival(0.1), Arrival(0.1), instances=2)

    assert outcome.latencies_s == pytest.approx([GPU.run_s(1), GPU.run_s(1) + GPU.token_s])


def test_a_seed_says_everything() -> None:
    assert BENCH.open_loop(IDLE_FIRST, 2_000) == BENCH.open_loop(IDLE_FIRST, 2_000)
    assert BENCH.open_loop(IDLE_FIRST, 2_000) != replace(BENCH, seed=2).open_loop(IDLE_FIRST, 2_000)


def test_without_batches_rows_wait_as_in_the_textbook() -> None:
    """M/D/1: the mean wait is load x run / 2 (1 - load)."""
    bench = replace(BENCH, seconds=60.0, timeout_s=10.0)
    outcome = bench.open_loop(Policy("no batching", 1), 600)
    run_s = GPU.run_s(1)
    load = 600 * run_s

    waited_s = fmean(outcome.latencies_s) - run_s
    assert waited_s == pytest.approx(load * run_s / 2 / (1 - load), rel=0.05)


def test_throughput_ends_at_the_ceiling() -> None:
    outcome = replace(BENCH, timeout_s=1.0).open_loop(IDLE_FIRST, 20_000)

    assert outcome.goodput == pytest.approx(GPU.per_s(32), rel=0.02)


def test_the_window_is_paid_below_the_ceiling() -> None:
    idle_first, window = BENCH.open_loop(IDLE_FIRST, 1_000), BENCH.open_loop(WINDOW, 1_000)

    assert idle_first.percentile_s(99) < window.percentile_s(99)
    assert idle_first.goodput >= window.goodput


def test_overload_leaves_the_goodput_at_the_ceiling_and_nobody_late() -> None:
    for door in (Door(max_rows=10**9), Door(row_s=GPU.run_s(32) / 32)):
        outcome = BENCH.open_loop(IDLE_FIRST, 15_000, door)

        assert outcome.late == 0
        assert outcome.goodput > 0.95 * GPU.per_s(32)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.label)
def test_clients_have_one_row_each(rule: object) -> None:
    device = replace(GPU, token_s=0.00001, token_buckets=(16, 32, 48, 64))
    outcome = closed_loop(replace(BENCH, device=device), rule, clients=8)  # type: ignore[arg-type]

    assert accounted(outcome) == outcome.arrived > 8
    assert max(rows for rows, _ in outcome.batches) <= 8


def test_a_core_runs_more_texts_when_they_are_with_their_like() -> None:
    cores = Bench(Device(0.0005, 0.0001, shared=False), 5.0, 1, 1.0, instances=2)
    found = {rule.label: closed_loop(cores, rule, 32) for rule in RULES}

    default = found["max_padding 0.25 and saved_s (default)"]
    assert default.goodput > 1.2 * found["first come, max_padding 1"].goodput
    assert (
        default.padding
        < found["max_padding 0.25"].padding
        < found["first come, max_padding 1"].padding
    )


def test_a_sheet_has_a_row_for_each_rate_and_a_column_for_each_policy() -> None:
    throughput, latency = rate_sheets(by_rate(BENCH, [500, 1_000]))

    assert [row[0] for row in throughput.rows] == ["500", "1,000"]
    assert all(len(row) == 1 + len(POLICIES) for row in (*throughput.rows, *latency.rows))


def test_nothing_came() -> None:
    outcome = scripted()

    assert (outcome.goodput, outcome.mean_batch, outcome.padding) == (0, 0, 0)
    assert outcome.percentile_s(99) != outcome.percentile_s(99)


@pytest.mark.parametrize("rates", ["", "fast", "0", "100,-1", "nan"])
def test_what_is_no_rate_is_refused(rates: str) -> None:
    with pytest.raises(UsageError, match="not rates"):
        parsed(rates)
