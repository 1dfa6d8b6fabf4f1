"""A request of each bucket, whole or not at all."""

from __future__ import annotations

import pytest

from inferctl.arena.exemplars import BUCKETS, EXEMPLARS_BYTES, Exemplar, Exemplars

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def memory() -> memoryview[int]:
    return memoryview(bytearray(EXEMPLARS_BYTES))


@pytest.mark.parametrize(
    ("latency_s", "bucket"), [(0.00005, 0), (0.0001, 0), (0.00011, 1), (60.0, 17), (61.0, 18)]
)
def test_a_request_is_kept_in_its_bucket(
    memory: memoryview[int], latency_s: float, bucket: int
) -> None:
    exemplars = Exemplars(memory)
    exemplars.keep(latency_s, 1.7e9, TRACE)
    found = [exemplars.read(number) for number in range(BUCKETS)]
    assert found.pop(bucket) == Exemplar(latency_s, 1.7e9, TRACE.decode())
    assert not any(found)
    exemplars.clear()
    assert exemplars.read(bucket) is None


def test_the_last_one_counts(memory: memoryview[int]) -> None:
    exemplars = Exemplars(memory)
    for ended_s in (1.0, 2.0):
        exemplars.keep(0.002, ended_s, TRACE)
    (found,) = filter(None, map(exemplars.read, range(BUCKETS)))
    assert found.ended_s == 2.0


def test_one_that_is_half_written_is_not_told(memory: memoryview[int]) -> None:
    exemplars = Exemplars(memory)
    exemplars.keep(0.00005, 1.0, TRACE)
    before = bytes(memory)
    exemplars.keep(0.00006, 2.0, TRACE[::-1])
    after = bytes(memory)
    for torn in range(len(after)):
        memory[:] = after[:torn] + before[torn:]
        assert (found := exemplars.read(0)) is None or found.ended_s in (1.0, 2.0)
        memory[:] = before[:torn] + after[torn:]
        assert (found := exemplars.read(0)) is None or found.ended_s in (1.0, 2.0)
