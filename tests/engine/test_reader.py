"""The reader: submissions to their model's runner, verdicts to the worker that owns the slot."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from typing import Any, cast

import pytest

from inferctl.arena.wire import RECORD, Control, Record, RecordStream, Verdict, encode_records
from inferctl.engine.reader import Reader, WorkerLink
from inferctl.engine.runner import Runner

from .fakes import TIMEOUT_S


class FakeRunner:
    """Notes what it is told, with its number; `on_submit` happens in the reader's thread."""

    def __init__(self, number: int, told: SimpleQueue[tuple[object, ...]]) -> None:
        self._number = number
        self._told = told
        self.on_submit: Callable[[], object] = lambda: None
        self.on_step: Callable[[], object] = lambda: None
        self.steps_per_submit = 0
        self._steps_left = 0

    def submit(self, slots: Sequence[int]) -> None:
        self._steps_left += self.steps_per_submit
        self._told.put((self._number, "submit", list(slots)))
        self.on_submit()

    def discard(self, worker: int) -> None:
        """A dead worker's waiting rows; `evict` follows with its successor."""

    def step(self) -> bool:
        """What only an inline runner is told."""
        if self._steps_left:
            self._steps_left -= 1
            self._told.put((self._number, "step"))
            self.on_step()
        return self._steps_left > 0

    def evict(self, worker: int) -> None:
        self._told.put((self._number, "evict", worker))


class Engine:
    """A reader with two fake runners, and the supervisor's end of its control socket."""

    def __init__(self, inline: bool = False) -> None:
        ours, theirs = socket.socketpair()
        self.supervisor, self.control = Control(ours), Control(theirs)
        self.told: SimpleQueue[tuple[object, ...]] = SimpleQueue()
        self.orders: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.reader = Reader(self.control, self.orders.put)
        self.runners = [FakeRunner(number, self.told) for number in range(2)]
        for place, runner in enumerate(self.runners):
            self.reader.add(place, cast(Runner, runner), inline)
        self._serving = threading.Thread(target=self.reader.serve, daemon=True)

    def serve(self) -> None:
        self._serving.start()

    def attach(self, worker: int) -> socket.socket:
        """Hand the engine a socket to a worker; the worker's end."""
        ours, theirs = socket.socketpair()
        ours.settimeout(TIMEOUT_S)
        with theirs:
            assert self.supervisor.send({"do": "attach", "worker": worker}, theirs.fileno())
        return ours

    def hear(self) -> tuple[object, ...]:
        """What the runners were told next."""
        return self.told.get(timeout=TIMEOUT_S)

    def evicted(self, worker: int) -> bool:
        """Whether both runners were told of a worker's end next; it is attached right after."""
        return [self.hear(), self.hear()] == [(0, "evict", worker), (1, "evict", worker)]

    def end(self) -> bool:
        """Hang up; whether the reader ended."""
        self.supervisor.hang_up()
        self._serving.join(TIMEOUT_S)
        self.reader.close()
        return not self._serving.is_alive()


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    if engine._serving.ident is not None:
        assert engine.end()
    engine.supervisor.close()
    engine.control.close()


def submit(worker: socket.socket, *records: tuple[int, int]) -> None:
    worker.sendall(encode_records((slot, model, Verdict.SUBMIT) for slot, model in records))


def answers(worker: socket.socket, count: int) -> list[Record]:
    stream, found = RecordStream(), list[Record]()
    while len(found) < count:
        data = worker.recv(RECORD.size * (count - len(found)))
        assert data, "the engine closed the socket"
        found += stream.feed(data)
    return found


def test_submissions_reach_the_runner_of_their_model(engine: Engine) -> None:
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        submit(worker, (7, 1), (8, 0), (9, 1))
        assert engine.hear() == (1, "submit", [7, 9])
        assert engine.hear() == (0, "submit", [8])


def test_rows_of_a_model_that_is_not_loaded_are_told_so(engine: Engine) -> None:
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        submit(worker, (7, 5), (8, 0), (9, 5))
        assert engine.hear() == (0, "submit", [8])
        assert answers(worker, 2) == [(7, 5, Verdict.UNLOADED), (9, 5, Verdict.UNLOADED)]


def test_a_submission_cut_in_two_is_one_row(engine: Engine) -> None:
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        whole = encode_records([(1, 0, 0), (2, 0, 0)])
        worker.sendall(whole[:11])
        assert engine.hear() == (0, "submit", [1])
        worker.sendall(whole[11:])
        assert engine.hear() == (0, "submit", [2])


def test_rows_of_workers_that_are_ready_at_once_are_submitted_together(engine: Engine) -> None:
    busy, go_on = threading.Event(), threading.Event()
    engine.runners[1].on_submit = lambda: (busy.set(), go_on.wait(TIMEOUT_S))
    engine.serve()
    with engine.attach(0) as first, engine.attach(1) as second:
        assert engine.evicted(0)
        assert engine.evicted(1)
        submit(first, (9, 1))
        assert engine.hear() == (1, "submit", [9])
        assert busy.wait(TIMEOUT_S)
        submit(first, (1, 0), (2, 0))
        submit(second, (40, 0))
        go_on.set()
        number, _, slots = engine.hear()
        assert (number, sorted(cast(list[int], slots))) == (0, [1, 2, 40])
        engine.runners[1].on_submit = lambda: None


def test_rows_read_just_before_their_worker_is_replaced_are_evicted(engine: Engine) -> None:
    """Submitted only after the eviction they would be run for the successor."""
    ends = [socket.socketpair() for _ in range(2)]
    engine.reader._attach(0, ends[0][1])
    assert engine.evicted(0)
    submit(ends[0][0], (1, 0))
    engine.reader._read(engine.reader._links[0])
    engine.reader._attach(0, ends[1][1])
    assert engine.hear() == (0, "submit", [1])
    assert engine.evicted(0)
    engine.reader.close()
    for ours, _ in ends:
        ours.close()


def test_verdicts_go_to_the_worker_asked_for_alone(engine: Engine) -> None:
    engine.serve()
    with engine.attach(0) as first, engine.attach(1) as second:
        assert engine.evicted(0)
        assert engine.evicted(1)
        for worker in (first, second):
            submit(worker, (1, 0))
            engine.hear()  # it is attached
        engine.reader.deliver(1, 1, [40, 41], Verdict.DONE)
        engine.reader.deliver(0, 0, [3], Verdict.FAILED)
        assert answers(second, 2) == [(40, 1, Verdict.DONE), (41, 1, Verdict.DONE)]
        assert answers(first, 1) == [(3, 0, Verdict.FAILED)]


def test_threads_that_deliver_at_once_do_not_mix_their_records(engine: Engine) -> None:
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        submit(worker, (1, 0))
        engine.hear()
        threads = [
            threading.Thread(
                target=lambda model: [
                    engine.reader.deliver(model, 0, range(50), Verdict.DONE) for _ in range(20)
                ],
                args=(model,),
            )
            for model in range(3)
        ]
        for thread in threads:
            thread.start()
        found = answers(worker, 3 * 20 * 50)
        for thread in threads:
            thread.join(TIMEOUT_S)
    for model in range(3):
        assert [slot for slot, of, _ in found if of == model] == list(range(50)) * 20


def test_verdicts_for_a_worker_that_is_not_there_are_dropped(engine: Engine) -> None:
    engine.reader.deliver(0, 5, [1], Verdict.DONE)


def test_hanging_up_ends_the_engine(engine: Engine) -> None:
    engine.serve()
    assert engine.end()


def test_workers_that_came_together_with_the_spec_are_attached(engine: Engine) -> None:
    """Messages read along with the first one are in no socket that `select` could tell of."""
    assert engine.supervisor.send({"the": "spec"})
    with engine.attach(0) as worker:
        assert engine.control.receive() == {"the": "spec"}
        engine.serve()
        assert engine.evicted(0)
        submit(worker, (1, 0))
        assert engine.hear() == (0, "submit", [1])


def test_a_worker_that_ends_is_let_go(engine: Engine) -> None:
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        worker.shutdown(socket.SHUT_WR)
        assert worker.recv(1) == b""  # the engine closed its end too
        engine.reader.deliver(0, 0, [1], Verdict.DONE)


def test_a_worker_that_dies_with_unread_verdicts_is_let_go(engine: Engine) -> None:
    """The kernel reports this as a reset; other workers are served as before."""
    engine.serve()
    with engine.attach(1) as other:
        assert engine.evicted(1)
        with engine.attach(0) as worker:
            assert engine.evicted(0)
            submit(worker, (1, 0))
            assert engine.hear() == (0, "submit", [1])
            engine.reader.deliver(0, 0, [1], Verdict.DONE)
        submit(other, (2, 0))
        assert engine.hear() == (0, "submit", [2])


def test_a_successor_takes_over_after_the_eviction(engine: Engine) -> None:
    engine.serve()
    with engine.attach(0) as worker, engine.attach(0) as successor:
        assert engine.evicted(0)
        assert engine.evicted(0)
        submit(successor, (1, 0))
        assert engine.hear() == (0, "submit", [1])
        assert worker.recv(1) == b""
        engine.reader.deliver(0, 0, [1], Verdict.DONE)
        assert answers(successor, 1) == [(1, 0, Verdict.DONE)]


def test_a_worker_that_died_while_models_loaded_has_its_successor_at_once(engine: Engine) -> None:
    """Its end and the successor's socket are then seen in the same `select`."""
    engine.attach(0).close()
    with engine.attach(0) as successor:
        engine.serve()
        assert engine.evicted(0)
        assert engine.evicted(0)
        submit(successor, (1, 0))
        assert engine.hear() == (0, "submit", [1])


def test_a_replaced_workers_last_words_are_not_read(engine: Engine) -> None:
    busy, go_on = threading.Event(), threading.Event()
    engine.serve()
    with engine.attach(0) as worker, engine.attach(1) as other:
        assert engine.evicted(0)
        assert engine.evicted(1)
        engine.runners[1].on_submit = lambda: (busy.set(), go_on.wait(TIMEOUT_S))
        submit(other, (9, 1))
        assert engine.hear() == (1, "submit", [9])
        assert busy.wait(TIMEOUT_S)
        with engine.attach(0) as successor:
            submit(worker, (1, 0))
            go_on.set()
            assert engine.evicted(0)
            submit(successor, (2, 0))
            assert engine.hear() == (0, "submit", [2])


def test_a_verdict_for_a_socket_closed_in_between_is_dropped() -> None:
    """The reader closes a dead worker's socket while a runner thread is about to send."""
    ours, theirs = socket.socketpair()
    link = WorkerLink(0, ours)
    theirs.close()
    link.unsent += b"12345678"
    assert link.send()
    ours.close()
    link.unsent += b"12345678"
    assert link.send()


def test_a_socket_is_not_closed_while_a_runner_sends_on_it(engine: Engine) -> None:
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        submit(worker, (1, 0))
        assert engine.hear() == (0, "submit", [1])
        with engine.reader._links[0].sending:
            worker.shutdown(socket.SHUT_WR)
            worker.settimeout(0.05)
            with pytest.raises(TimeoutError):
                worker.recv(1)
        worker.settimeout(TIMEOUT_S)
        assert worker.recv(1) == b""


def test_a_stalled_worker_stalls_no_runner_and_gets_every_verdict_in_the_end(
    engine: Engine,
) -> None:
    """A socket takes some 280 small messages; here are ten times as many."""
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        submit(worker, (0, 0))
        assert engine.hear() == (0, "submit", [0])
        for slot in range(3000):
            engine.reader.deliver(0, 0, [slot], Verdict.DONE)

        stream, slots = RecordStream(), list[int]()
        while len(slots) < 3000:
            slots += [slot for slot, _, _ in stream.feed(worker.recv(65536))]

        assert slots == list(range(3000))


@pytest.fixture
def inline_engine() -> Iterator[Engine]:
    engine = Engine(inline=True)
    yield engine
    assert engine.end()
    engine.supervisor.close()
    engine.control.close()


def test_inline_batches_are_run_until_no_row_waits(inline_engine: Engine) -> None:
    engine = inline_engine
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        engine.runners[1].steps_per_submit = 3
        submit(worker, (1, 1))
        assert [engine.hear() for _ in range(4)] == [(1, "submit", [1]), *[(1, "step")] * 3]


def test_rows_that_come_between_two_inline_batches_are_read_first(inline_engine: Engine) -> None:
    engine = inline_engine
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        engine.runners[0].steps_per_submit = 2

        def submit_once() -> None:
            engine.runners[0].on_step = lambda: None
            submit(worker, (9, 1))

        engine.runners[0].on_step = submit_once
        submit(worker, (1, 0))
        assert [engine.hear() for _ in range(4)] == [
            (0, "submit", [1]), (0, "step"), (1, "submit", [9]), (0, "step"),
        ]  # fmt: skip


def test_rows_of_a_worker_that_was_about_to_submit_join(
    inline_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader yields before an inline batch, and looks again for those it let go first."""
    engine = inline_engine
    with engine.attach(0) as first, engine.attach(1) as second:
        engine.serve()
        assert engine.evicted(0)
        assert engine.evicted(1)
        monkeypatch.setattr("os.sched_yield", lambda: submit(second, (40, 0)))
        submit(first, (1, 0))
        number, _, slots = engine.hear()
        monkeypatch.undo()
        assert (number, sorted(cast(list[int], slots))) == (0, [1, 40])


def test_a_worker_replaced_between_two_inline_batches_is_evicted(inline_engine: Engine) -> None:
    """The reader waits for no run of its own."""
    engine = inline_engine
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        successors: list[socket.socket] = []
        engine.runners[0].steps_per_submit = 2
        engine.runners[0].on_step = lambda: successors.append(engine.attach(0))
        submit(worker, (1, 0))
        assert [engine.hear() for _ in range(2)] == [(0, "submit", [1]), (0, "step")]
        assert engine.evicted(0)
        assert engine.hear() == (0, "step")
        assert engine.evicted(0)
        for successor in successors:
            successor.close()


def test_what_the_supervisor_says_of_models_is_passed_on(engine: Engine) -> None:
    engine.serve()
    assert engine.supervisor.send({"do": "load", "id": 7})
    assert engine.orders.get(timeout=TIMEOUT_S) == {"do": "load", "id": 7}
    with engine.attach(0):
        assert engine.evicted(0)


def test_a_place_gets_rows_from_when_it_is_added_until_it_is_removed(engine: Engine) -> None:
    """A dead worker's rows may come later still: nobody waits for them."""
    late = FakeRunner(5, engine.told)
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        engine.reader.add(5, cast(Runner, late))
        submit(worker, (1, 5))
        assert engine.hear() == (5, "submit", [1])
        engine.reader.remove(5, cast(Runner, late))
        submit(worker, (2, 5), (3, 0))
        assert engine.hear() == (0, "submit", [3])


def test_an_inline_runner_that_is_removed_is_not_stepped(inline_engine: Engine) -> None:
    engine = inline_engine
    engine.serve()
    with engine.attach(0) as worker:
        assert engine.evicted(0)
        engine.runners[1].steps_per_submit = 1
        engine.runners[0].steps_per_submit = 1
        submit(worker, (1, 1))
        assert [engine.hear() for _ in range(2)] == [(1, "submit", [1]), (1, "step")]
        engine.reader.remove(1, cast(Runner, engine.runners[1]))
        engine.runners[1].submit([2])
        assert engine.hear() == (1, "submit", [2])
        submit(worker, (3, 0))
        assert [engine.hear() for _ in range(2)] == [(0, "submit", [3]), (0, "step")]
