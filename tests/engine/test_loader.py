"""Loading beside serving: one thing after the other, and nothing left of what fails."""

from __future__ import annotations

import mmap
import threading

import pytest

from inferctl.arena.ledger import Block, Ledger, ledger_bytes
from inferctl.engine.loader import Loader
from inferctl.engine.session import DeviceLost
from inferctl.errors import StartError

PLACE = 3


@pytest.fixture
def block() -> Block:
    return Ledger(mmap.mmap(-1, ledger_bytes(2)), 0).blocks[Ledger.ENGINE]


def test_jobs_are_done_in_their_order_until_the_end(block: Block) -> None:
    loader, done = Loader(block), list[int]()
    for number in range(3):
        loader.begin(lambda number=number: done.append(number))  # type: ignore[misc]
    loader.end()
    loader.begin(lambda: done.append(99))
    loader.work()
    assert done == [0, 1, 2]


def test_a_job_may_come_while_there_is_none(block: Block) -> None:
    loader = Loader(block)
    working = threading.Thread(target=loader.work)
    working.start()
    done = threading.Event()
    loader.begin(done.set)
    assert done.wait(10)
    loader.end()
    working.join(10)
    assert not working.is_alive()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StartError("the graph", where="here"), "the graph (here)"),
        (
            FileNotFoundError(2, "No such file", "model.onnx"),
            "[Errno 2] No such file: 'model.onnx'",
        ),
        (MemoryError(), "insufficient memory: an allocation failed; serve fewer models"),
    ],
)
def test_what_cannot_be_loaded_says_why_and_takes_its_gauges_back(
    block: Block, error: Exception, said: str
) -> None:
    gauge = block.cell("inferctl_max_batch_rows", PLACE)

    def load() -> None:
        gauge.set(8)
        raise error

    assert Loader(block).attempt(load, PLACE) == said
    assert gauge.get() == 0


def test_a_device_that_is_lost_is_no_fault_of_the_model(block: Block) -> None:
    def load() -> None:
        raise DeviceLost("CUDA failure 719")

    with pytest.raises(DeviceLost):
        Loader(block).attempt(load, PLACE)


def test_what_is_loaded_keeps_its_gauges(block: Block) -> None:
    gauge = block.cell("inferctl_max_batch_rows", PLACE)
    assert Loader(block).attempt(lambda: gauge.set(8), PLACE) is None
    assert gauge.get() == 8


def test_a_bug_is_not_taken_for_a_model_that_does_not_load(block: Block) -> None:
    with pytest.raises(KeyError):
        Loader(block).attempt(lambda: {}["absent"], PLACE)
