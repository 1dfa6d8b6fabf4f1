"""An engine with two devices, from the arena through its threads and back; the CPU stands in."""

from __future__ import annotations

import gc
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest

from inferctl.arena.layout import arena_bytes
from inferctl.arena.ledger import Ledger, ledger_bytes
from inferctl.arena.memory import create_memory, map_memory
from inferctl.arena.placed import Placed
from inferctl.arena.slots import ModelArena
from inferctl.arena.spec import EngineSpec, ModelSpec
from inferctl.arena.wire import RECORD, Control, Record, RecordStream, Verdict, encode_records
from inferctl.engine.__main__ import Engine
from inferctl.engine.session import DeviceLost
from inferctl.engine.watchdog import Watchdog
from inferctl.settings import ModelSettings
from tests.graphs import PIXELS, image_fields, image_graph, write_bundle

from .cudas import Error, Runtime, give_device

TIMEOUT_S = 60.0
SLOTS = 64
ROW_BYTES = PIXELS
INSTANCES = 2


class Memory:
    """What engines share with those who come after them: the ledger, and an arena for each of
    `devices`, as `runtime.device` names those of a model."""

    def __init__(self, folder: Path, devices: list[str], **batching: Any) -> None:
        self._ledger_fd = create_memory("ledger", ledger_bytes(Ledger.FIRST_WORKER + 1))
        self.ledger = Ledger(map_memory(self._ledger_fd), 1)
        self.arenas: list[ModelArena] = []
        self._models: list[ModelSpec] = []
        for place, device in enumerate(devices):
            name = f"pixels{place}"
            manifest = write_bundle(folder / name, image_graph(), image_fields(name=name))
            self.ledger.give_place(place, name, 1)
            arena_fd = create_memory("arena", arena_bytes(manifest, SLOTS))
            self.arenas.append(arena := ModelArena(manifest, SLOTS, 1, map_memory(arena_fd)))
            arena.submitted_s[:] = time.monotonic()
            arena.deadline_s[:] = time.monotonic() + 1000
            arena.inputs["image"][:] = np.arange(SLOTS * PIXELS).reshape(SLOTS, 2, 2, 3) % 251
            own = {"runtime": {"device": device}, "batching": batching}
            self._models.append(
                ModelSpec(
                    place=place, manifest=manifest, bundle=str(folder / name), slots=SLOTS,
                    arena_fd=arena_fd, settings=ModelSettings.model_validate(own),
                )
            )  # fmt: skip

    def spec(self, is_successor: bool) -> EngineSpec:
        """For an engine, which takes the descriptors that it names."""
        models = [one.model_copy(update={"arena_fd": os.dup(one.arena_fd)}) for one in self._models]
        return EngineSpec(
            models=tuple(models), workers=1, ledger_fd=self._ledger_fd, process=Ledger.ENGINE,
            is_successor=is_successor, deadline_s=1000,
        )  # fmt: skip

    def close(self) -> None:
        """What is mapped stays."""
        for fd in (self._ledger_fd, *(one.arena_fd for one in self._models)):
            os.close(fd)


class Served:
    """An engine that serves in this process, and its only worker's end."""

    def __init__(self, memory: Memory, is_successor: bool = False) -> None:
        self.ledger, self.arenas = memory.ledger, memory.arenas
        ours, theirs = socket.socketpair()
        self._control, self._engines = Control(ours), Control(theirs)
        engine = Engine(memory.spec(is_successor), self._engines)
        engine.load()
        self._queues = [engine._runners[place].queue for place in range(len(self.arenas))]
        self._serving = threading.Thread(target=engine.serve)
        self._serving.start()
        self._worker, other = socket.socketpair()
        self._worker.settimeout(TIMEOUT_S)
        with other:
            self._control.send({"do": "attach", "worker": 0}, other.fileno())

    def submit(self, slots: range, place: int = 0) -> None:
        """Rows at once."""
        self._worker.sendall(encode_records([(slot, place, 0) for slot in slots]))

    def ask(self, slots: range, place: int = 0) -> list[Record]:
        """Submit rows at once; what became of each, in order."""
        self.submit(slots, place)
        stream, found = RecordStream(), list[Record]()
        while len(found) < len(slots):
            data = self._worker.recv(RECORD.size * (len(slots) - len(found)))
            assert data, "the engine closed the socket"
            found += stream.feed(data)
        return sorted(found)

    def wait_for_idle(self, device: str) -> None:
        """A row is answered a moment before its thread is free."""
        end_s = time.monotonic() + TIMEOUT_S
        while any(queue._busy[device] for queue in self._queues):
            assert time.monotonic() < end_s

    def check_own_answers(self, slots: range, place: int = 0) -> None:
        """Each row has the scores that are its own."""
        arena = self.arenas[place]
        expected = arena.inputs["image"][slots].reshape(len(slots), PIXELS)
        assert arena.outputs["scores"][slots].tolist() == expected.tolist()

    def end(self) -> None:
        self._control.hang_up()
        self._serving.join(TIMEOUT_S)
        assert not self._serving.is_alive()
        for end in (self._worker, self._control, self._engines):
            end.close()


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Two."""
    monkeypatch.setattr(Watchdog, "start", lambda _: None)
    return give_device(monkeypatch, devices=2)


@contextmanager
def served(folder: Path, devices: list[str], **batching: Any) -> Iterator[Served]:
    memory = Memory(folder, devices, **batching)
    with serving(memory) as service:
        yield service
    memory.close()


@contextmanager
def serving(memory: Memory, is_successor: bool = False) -> Iterator[Served]:
    service = Served(memory, is_successor)
    try:
        yield service
    finally:
        service.end()
        gc.collect()


def on_uploads(devices: Runtime, do: Callable[[int, int], Error]) -> None:
    """From now on have this done before an upload, of a device and so many bytes; what it ends
    with."""
    copy = devices.cudaMemcpyAsync

    def copying(target: int, source: int, size: int, kind: int, stream: int) -> tuple[Error]:
        if kind == devices.cudaMemcpyKind.cudaMemcpyHostToDevice and (
            error := do(devices.device_of(stream), size)
        ):
            return (error,)
        return copy(target, source, size, kind, stream)

    devices.cudaMemcpyAsync = copying  # type: ignore[method-assign]


def test_all_instances_of_both_devices_take_from_one_queue(
    tmp_path: Path, devices: Runtime
) -> None:
    """None of four batches ends before the fourth has begun, so each has a thread of its own."""
    taken: list[int] = []
    all_have_begun = threading.Barrier(2 * INSTANCES)
    with served(tmp_path, ["cuda:0,1"], max_batch_rows=1) as service:

        def meet(device: int, size: int) -> Error:
            taken.append(device)
            all_have_begun.wait(TIMEOUT_S)
            return Error.cudaSuccess

        on_uploads(devices, meet)
        slots = range(2 * INSTANCES)
        assert service.ask(slots) == [(slot, 0, Verdict.DONE) for slot in slots]
        assert sorted(taken) == [0] * INSTANCES + [1] * INSTANCES
        service.check_own_answers(slots)
        assert service.ledger.total("inferctl_instances", 0) == 2 * INSTANCES
        assert service.ledger.placed.read() == {0: Placed("cuda:0,1", ("GPU-0", "GPU-1"))}
    assert devices.holders() == set()


def test_a_device_that_is_busy_leaves_the_rows_to_the_other(
    tmp_path: Path, devices: Runtime
) -> None:
    are_held, is_let_go = threading.Event(), threading.Event()
    with served(tmp_path, ["cuda:all"], max_batch_rows=1) as service:
        begun, counting = Counter[int](), threading.Lock()

        def hold_the_first(device: int, size: int) -> Error:
            with counting:
                begun[device] += 1
                if begun[0] == INSTANCES:
                    are_held.set()
                if begun[1] == SLOTS - INSTANCES:
                    is_let_go.set()
            assert (are_held if device else is_let_go).wait(TIMEOUT_S)
            return Error.cudaSuccess

        on_uploads(devices, hold_the_first)
        slots = range(SLOTS)
        assert service.ask(slots) == [(slot, 0, Verdict.DONE) for slot in slots]
        assert begun == {0: INSTANCES, 1: SLOTS - INSTANCES}
        service.check_own_answers(slots)


def test_a_thread_of_a_busy_device_is_not_free(tmp_path: Path, devices: Runtime) -> None:
    begun: SimpleQueue[int] = SimpleQueue()
    is_let_go = threading.Event()
    with served(tmp_path, ["cuda:0,1"], max_batch_rows=1) as service:
        held: list[int] = []

        def hold_the_first(device: int, size: int) -> Error:
            if not held:
                held.append(device)
            begun.put(device)
            if device in held:
                assert is_let_go.wait(TIMEOUT_S)
            return Error.cudaSuccess

        on_uploads(devices, hold_the_first)
        service.submit(range(1))
        busy = begun.get(timeout=TIMEOUT_S)
        for slot in range(1, 9):
            assert service.ask(range(slot, slot + 1)) == [(slot, 0, Verdict.DONE)]
            assert begun.get(timeout=TIMEOUT_S) == 1 - busy
            service.wait_for_idle(f"cuda:{1 - busy}")
        is_let_go.set()


def test_models_of_different_devices_run_each_on_its_own(tmp_path: Path, devices: Runtime) -> None:
    with served(tmp_path, ["cuda:0", "cuda:1"]) as service:
        devices.uploads.clear()
        for place in (1, 0, 1):
            slots = range(8)
            assert service.ask(slots, place) == [(slot, place, Verdict.DONE) for slot in slots]
            assert devices.uploads.pop(place) > 0
            assert not devices.uploads
            service.check_own_answers(slots, place)
        assert service.ledger.placed.read() == {
            0: Placed("cuda:0", ("GPU-0",)), 1: Placed("cuda:1", ("GPU-1",)),
        }  # fmt: skip


def test_a_batch_that_one_device_has_no_memory_for_is_halved(
    tmp_path: Path, devices: Runtime
) -> None:
    """And no larger one is formed for a while, for either."""
    full: list[int] = []
    with served(tmp_path, ["cuda:0,1"], max_batch_rows=4) as service:

        def refuse_many(device: int, size: int) -> Error:
            if size > ROW_BYTES and not full:
                full.append(device)
            too_large = device in full and size > ROW_BYTES
            return Error.cudaErrorMemoryAllocation if too_large else Error.cudaSuccess

        on_uploads(devices, refuse_many)
        slots = range(SLOTS)
        assert service.ask(slots) == [(slot, 0, Verdict.DONE) for slot in slots]
        service.check_own_answers(slots)
        assert service.ledger.total("inferctl_bisects_total", 0) >= 1
        assert service.ledger.total("inferctl_batch_cap_rows", 0) == 1
        assert service.ledger.total("inferctl_poisoned_rows_total", 0) == 0


def test_rows_of_a_device_that_is_lost_are_run_by_those_that_are_left(
    tmp_path: Path, devices: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the engine's thread ends instead of its process, and its successor is in this one."""
    ends: SimpleQueue[BaseException | None] = SimpleQueue()
    monkeypatch.setattr(threading, "excepthook", lambda failure: ends.put(failure.exc_value))
    memory = Memory(tmp_path, ["cuda:0,1"], max_batch_rows=1)
    with serving(memory) as service:
        on_uploads(devices, lambda *_: Error.cudaErrorLaunchFailure)
        service.submit(range(1))
        assert isinstance(ends.get(timeout=TIMEOUT_S), DeviceLost)
    give_device(monkeypatch, devices=1)
    with serving(memory, is_successor=True) as service:
        assert service.arenas[0].verdict[0] == Verdict.DONE, "it was tried alone"
        service.check_own_answers(range(1))
        slots = range(1, 9)
        assert service.ask(slots) == [(slot, 0, Verdict.DONE) for slot in slots]
        placed = service.ledger.placed.read()[0]
        assert (placed.device, placed.uuids) == ("cuda:0", ("GPU-0",))
        assert placed.left_out == (
            "cuda:1 (there is no device 1: the driver shows 1, numbered from 0)",
        )
        assert service.ledger.total("inferctl_instances", 0) == INSTANCES
    memory.close()
