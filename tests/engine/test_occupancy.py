"""Who runs beside whom: what is alone, and which bulk batches may begin, or are to end."""

from __future__ import annotations

from inferctl.engine.occupancy import CALM_AFTER_S, Occupancy
from inferctl.engine.watchdog import Stint

CPU, GPUS = "cpu", ("cuda:0", "cuda:1")


class Queue:
    """So many rows wait in it; `looks` counts how often it was told to look again."""

    def __init__(self, interactive: int = 0, bulk: int = 0, device: str = CPU) -> None:
        self.interactive_rows, self.bulk_rows, self.looks = interactive, bulk, 0
        self._device = device

    def has_urgent(self, device: str) -> bool:
        return device == self._device and self.interactive_rows > 0

    def __len__(self) -> int:
        return self.interactive_rows + self.bulk_rows

    def look_again(self) -> None:
        self.looks += 1


def new_stint() -> Stint:
    return Stint(lambda rows, patience: 1.0)


def watching(*queues: Queue) -> Occupancy:
    occupancy = Occupancy()
    for queue in queues:
        occupancy.watch(queue)
    return occupancy


def test_the_only_batch_is_alone() -> None:
    occupancy = Occupancy()
    for _ in range(2):
        assert occupancy.enter(CPU, 0.0, True)
        occupancy.leave(CPU, True)


def test_a_batch_beside_another_is_not_alone() -> None:
    occupancy = Occupancy()
    assert occupancy.enter(CPU, 0.0, True)
    assert not occupancy.enter(CPU, 0.0, True)
    occupancy.leave(CPU, True)
    assert not occupancy.enter(CPU, 0.0, True)


def test_a_batch_is_not_alone_while_rows_of_any_model_wait() -> None:
    first, second = Queue(), Queue()
    occupancy = watching(first, second)
    assert occupancy.enter(CPU, 0.0, True)
    occupancy.leave(CPU, True)
    second.interactive_rows = 1
    assert not occupancy.enter(CPU, 0.0, True)


def test_rows_of_a_model_that_is_gone_are_no_company() -> None:
    queue = Queue(interactive=1)
    occupancy = watching(queue)
    occupancy.unwatch(queue)
    assert occupancy.enter(CPU, 0.0, True)


def test_bulk_rows_that_wait_are_company_for_bulk_batches_alone() -> None:
    occupancy = watching(Queue(bulk=1))
    assert occupancy.enter(CPU, 0.0, True)
    occupancy.leave(CPU, True)
    assert occupancy.enter_bulk(CPU, None, is_due=False)
    assert not occupancy.is_bulk_alone()


def test_a_bulk_batch_that_nobody_runs_beside_is_alone() -> None:
    occupancy = watching(Queue())
    assert occupancy.enter_bulk(CPU, None, is_due=False)
    assert occupancy.is_bulk_alone()
    assert occupancy.enter_bulk(CPU, None, is_due=False)
    assert not occupancy.is_bulk_alone()


def test_no_bulk_batch_begins_while_interactive_rows_wait_or_run() -> None:
    queue = Queue(interactive=1)
    occupancy = watching(Queue(), queue)
    assert not occupancy.enter_bulk(CPU, None, is_due=False)
    occupancy.enter(CPU, 0.0, True)
    queue.interactive_rows = 0
    assert not occupancy.enter_bulk(CPU, None, is_due=False)
    occupancy.leave(CPU, True)
    assert occupancy.enter_bulk(CPU, None, is_due=False)


def test_who_was_kept_waiting_is_told_once_interactive_rows_are_done() -> None:
    queues = Queue(), Queue()
    occupancy = watching(*queues)
    occupancy.enter(CPU, 0.0, True)
    assert not occupancy.enter_bulk(CPU, None, is_due=False)
    assert [queue.looks for queue in queues] == [0, 0]
    occupancy.leave(CPU, True)
    assert [queue.looks for queue in queues] == [1, 1]
    occupancy.enter(CPU, 0.0, True)
    occupancy.leave(CPU, True)
    assert [queue.looks for queue in queues] == [1, 1], "nobody was"


def test_nobody_is_told_while_more_of_them_run_or_wait() -> None:
    """It would be a wake-up of every runner for every interactive batch, and for nothing."""
    queue = Queue()
    occupancy = watching(queue)
    for _ in range(2):
        occupancy.enter(CPU, 0.0, True)
    assert not occupancy.enter_bulk(CPU, None, is_due=False)
    occupancy.leave(CPU, True)
    assert queue.looks == 0, "one runs"
    queue.interactive_rows = 1
    occupancy.leave(CPU, True)
    assert queue.looks == 0, "one waits"
    occupancy.enter(CPU, 0.0, True)
    queue.interactive_rows = 0
    occupancy.leave(CPU, True)
    assert queue.looks == 1


def test_rows_that_wait_for_another_gpu_hold_no_bulk_batch() -> None:
    first, second = GPUS
    occupancy = watching(Queue(interactive=1, device=first))
    assert occupancy.enter_bulk(second, None, is_due=False)
    assert not occupancy.enter_bulk(first, None, is_due=False)


def test_on_another_gpu_a_bulk_batch_may_begin() -> None:
    first, second = GPUS
    occupancy = Occupancy()
    occupancy.enter(first, 0.0, True)
    assert occupancy.enter_bulk(second, None, is_due=False)
    assert not occupancy.enter_bulk(first, None, is_due=False)


def test_a_batch_that_is_due_begins_and_goes_on() -> None:
    occupancy, stint = watching(Queue(interactive=1)), new_stint()
    assert occupancy.enter_bulk(CPU, stint, is_due=True)
    assert not occupancy.enter(CPU, 0.0, True)
    occupancy.end_bulk()
    assert not stint.options.terminate
    occupancy.leave_bulk(stint)


def test_bulk_batches_end_for_interactive_rows_and_are_no_company() -> None:
    occupancy, stints = Occupancy(), [new_stint(), new_stint()]
    for stint in stints:
        assert occupancy.enter_bulk(CPU, stint, is_due=False)
    occupancy.end_bulk()
    assert all(stint.gives_way and stint.options.terminate for stint in stints)
    assert not occupancy.endable
    assert occupancy.enter(CPU, 0.0, True), "it may use every core"
    for stint in stints:
        occupancy.leave_bulk(stint)
        assert not stint.gives_way
        assert not stint.options.terminate
    occupancy.leave(CPU, True)
    assert occupancy.enter(CPU, 0.0, True)
    assert not occupancy.enter(CPU, 0.0, True)


def test_a_bulk_batch_that_began_just_before_ends_too() -> None:
    """After the rows were put, and before they were taken."""
    occupancy, stint = Occupancy(), new_stint()
    occupancy.end_bulk()
    assert occupancy.enter_bulk(CPU, stint, is_due=False)
    assert occupancy.enter(CPU, 0.0, True)
    assert stint.gives_way


def test_a_bulk_batch_that_is_kept_goes_on() -> None:
    occupancy, stint = Occupancy(), new_stint()
    occupancy.enter_bulk(CPU, stint, is_due=False)
    occupancy.keep(stint)
    occupancy.end_bulk()
    assert not stint.gives_way
    assert not occupancy.enter(CPU, 0.0, True), "it is company"
    occupancy.leave_bulk(stint)


def test_a_bulk_batch_that_is_kept_too_late_may_run_again() -> None:
    occupancy, stint = Occupancy(), new_stint()
    occupancy.enter_bulk(CPU, stint, is_due=False)
    occupancy.end_bulk()
    occupancy.keep(stint)
    assert not stint.gives_way
    assert not stint.options.terminate
    occupancy.leave_bulk(stint)
    assert occupancy.enter(CPU, 0.0, True)


def test_bulk_does_not_give_way_to_short_runs() -> None:
    occupancy, stint = Occupancy(), new_stint()
    assert occupancy.enter_bulk(CPU, stint, is_due=False)
    assert not occupancy.enter(CPU, 0.0, False)
    assert not stint.gives_way
    assert occupancy.enter_bulk(CPU, None, is_due=False)
    assert not occupancy.is_busy(0.0)
    occupancy.leave(CPU, False)
    assert occupancy.enter_bulk(CPU, None, is_due=False)


def test_it_is_busy_for_a_while_after_an_interactive_batch() -> None:
    occupancy = Occupancy()
    assert not occupancy.is_busy(100.0)
    occupancy.enter(CPU, 100.0, True)
    occupancy.leave(CPU, True)
    assert occupancy.is_busy(100 + 0.9 * CALM_AFTER_S)
    assert not occupancy.is_busy(100 + CALM_AFTER_S)
