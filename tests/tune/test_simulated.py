"""The device alone, simulated with the engine's batcher."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferctl.bench.slo import Slo
from inferctl.tune.simulated import Device, carried_per_s, simulate
from tests.tune.modelled import BASE

# A run takes 4 ms and 1 ms a row; with two threads it takes half of that.
CURVES = {
    threads: {rows: (0.004 + 0.001 * rows) / threads for rows in (1, 2, 4, 8, 16)}
    for threads in (1, 2)
}
SLO = Slo(90, 50)
ONE = replace(BASE, layout=(1, 1), batch=16)


def test_a_device_carries_nearly_what_full_batches_come_to() -> None:
    most_per_s = 16 / 0.020
    carried = carried_per_s(ONE, CURVES, SLO, cores=2)

    assert 0.8 * most_per_s < carried < 1.1 * most_per_s


def test_without_batches_it_carries_a_run_a_row() -> None:
    carried = carried_per_s(replace(ONE, batch=1), CURVES, SLO, cores=2)

    assert carried == pytest.approx(200, rel=0.15)


def test_two_instances_carry_twice_as_much_on_two_cores() -> None:
    one = carried_per_s(ONE, CURVES, SLO, cores=2)
    two = carried_per_s(replace(ONE, layout=(2, 1)), CURVES, SLO, cores=2)
    two_on_one = carried_per_s(replace(ONE, layout=(2, 1)), CURVES, SLO, cores=1)

    assert two == pytest.approx(2 * one, rel=0.15)
    assert two_on_one == pytest.approx(one, rel=0.2)


def test_what_takes_longer_than_the_limit_carries_next_to_nothing() -> None:
    assert 0 < carried_per_s(ONE, CURVES, Slo(90, 4), cores=2) < 1


def test_a_run_that_is_alone_may_have_every_core() -> None:
    """Two instances of a thread each miss the limit, by 5 ms, and a run on both cores keeps it."""
    auto, fixed = (
        carried_per_s(replace(ONE, layout=layout), CURVES, Slo(90, 4), cores=2)
        for layout in (("auto", "auto"), (2, 1))
    )

    assert fixed < 1 < 20 < auto


def test_threads_may_be_every_core_by_themselves() -> None:
    latency = Device(replace(ONE, layout=("auto", "auto")), CURVES, 2, auto_threads=2)

    assert (latency.threads, latency.instances) == (2, 1)


def test_a_held_batch_is_late_by_its_wait() -> None:
    held = simulate(Device(replace(ONE, wait=30.0), CURVES, 2), 10.0, SLO)
    free = simulate(Device(ONE, CURVES, 2), 10.0, SLO)

    assert held.p50_ms == pytest.approx(free.p50_ms + 30, abs=3)


def test_the_same_arrivals_come_every_time() -> None:
    device = Device(ONE, CURVES, 2)

    assert simulate(device, 300.0, SLO) == simulate(device, 300.0, SLO)
