"""`python -m inferctl.engine CONTROL_FD`: the process that owns the device."""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from inferctl.arena.ledger import OVERDUE_S, Ledger
from inferctl.arena.memory import adopt_memory, map_memory
from inferctl.arena.placed import Placed
from inferctl.arena.slots import ModelArena
from inferctl.arena.spec import EngineSpec, ModelSpec
from inferctl.arena.wire import Control, Verdict
from inferctl.bundles.repository import check_graph
from inferctl.cores import available_cores
from inferctl.cuda.tf32 import rule_out_tf32
from inferctl.diagnostics import unblock_stderr
from inferctl.engine.crew import Crew
from inferctl.engine.execution import Deliver
from inferctl.engine.loader import Loader
from inferctl.engine.model import Model
from inferctl.engine.nvml import watch_gpus
from inferctl.engine.occupancy import Occupancy
from inferctl.engine.reader import Reader
from inferctl.engine.room import check_room
from inferctl.engine.runner import Runner, runs_inline
from inferctl.engine.session import DeviceLost
from inferctl.engine.sizing import Sizing
from inferctl.engine.spread import Spread
from inferctl.engine.trial import Trial
from inferctl.engine.warmup import check_in_time, reinforce, warm_up, widen
from inferctl.engine.watchdog import WARM_UP_LIMIT_S, Stint, Watchdog
from inferctl.engine.wide import worth_widening
from inferctl.errors import InferctlError, StartError
from inferctl.heap import give_back, share
from inferctl.naming import name_process
from inferctl.orphans import end_with_parent
from inferctl.settings import RuntimeSettings

# A run allocates for every node: more threads would wait for each other.
RUNNERS_PER_HEAP = 4


def main() -> None:
    """Load and warm every model, say so, and serve until the supervisor hangs up."""
    name_process("inferctl-engine")
    share(max(1, available_cores() // RUNNERS_PER_HEAP))
    unblock_stderr()
    end_with_parent()
    threading.excepthook = _die
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)  # workers still need it while they drain
    control = Control(socket.socket(fileno=int(sys.argv[1])))
    message = control.receive()
    if message is None:
        return
    engine = Engine(EngineSpec.model_validate(message), control)
    try:
        _load_and_serve(engine, control)
    except DeviceLost as error:
        _end(error)


def _load_and_serve(engine: Engine, control: Control) -> None:
    """Raises DeviceLost."""
    try:
        engine.load()
    except DeviceLost:
        raise
    except InferctlError as error:
        control.send({"event": "failed", "error": str(error)})
        sys.exit(error.exit_code)
    control.send({"event": "ready", "untried": engine.untried, "lost": [*engine.lost.items()]})
    engine.serve()


class Engine:
    """The loaded models of this process."""

    def __init__(self, spec: EngineSpec, control: Control) -> None:
        self._spec = spec
        self._control = control
        ledger = Ledger(map_memory(spec.ledger_fd), spec.workers)
        self._ledger, self._block = ledger, ledger.blocks[spec.process]
        # A successor takes over what its predecessor measured: it is wanted back quickly. Not what
        # the memory held at the time: a GPU would warm up nothing larger, and so stay there.
        self._known_rows = {
            model.place: int(self._block.cell("inferctl_max_batch_rows", model.place).get())
            for model in spec.models
            if not self._block.cell("inferctl_batch_cap_rows", model.place).get()
        }
        self._block.reset_gauges(ledger.places())
        overdue = self._block.state(OVERDUE_S)
        self._trial = Trial(self._block, was_overdue=overdue.get() > 0)
        overdue.set(0.0)
        self._watchdog = Watchdog(self._block)
        # What this thread runs, which loads the models.
        self._rehearsal = Stint(lambda rows, patience: WARM_UP_LIMIT_S)
        self._watchdog.watch(self._rehearsal)
        self._watchdog.start()
        self._cores = available_cores()
        self._reader = Reader(control, self._order)
        # Models share the cores, or GPUs: by whether it is the latter.
        self._occupancies = {False: Occupancy(), True: Occupancy(short_s=0.0)}
        self._runners: dict[int, Runner] = {}
        # Where each model is, by its place in the ledger.
        self._placed: dict[int, Placed] = {}
        # What it could not load, by place, and why.
        self.lost: dict[int, str] = {}
        self._loader = Loader(self._block)
        self._to_widen: list[tuple[Model, RuntimeSettings]] = []

    def load(self) -> None:
        """Load and warm every model, and start its runners. Raises StartError."""
        if not all(spec.settings.runtime.tf32 for spec in self._spec.models):
            rule_out_tf32()  # before the first one has CUDA's libraries loaded
        for spec in self._spec.models:
            load = partial(self._load, spec, self._known_rows.get(spec.place, 0))
            if reason := self._loader.attempt(load, spec.place):
                if not self._spec.is_successor:
                    raise StartError(reason)
                self.lost[spec.place] = reason
        if self.lost and not self._runners:
            raise StartError(next(iter(self.lost.values())))
        for runner in self._runners.values():
            runner.hold(self._trial)
        self._ledger.placed.write(self._placed)
        self._block.cell("inferctl_engine_ready").set(1)

    @property
    def untried(self) -> int:
        """Rows that may have killed the predecessor, and nobody waits for any more."""
        return self._trial.untried

    def serve(self) -> None:
        """Serve until the supervisor hangs up; the batches that run are finished."""
        # Not before: who waits for the service to be ready does not wait for this.
        self._loader.begin(self._widen)
        self._loader.begin(give_back)  # what loading needed, and serving does not
        if self._spec.reads_gpus:
            watch_gpus(self._ledger.board)
        # It is not waited for if the loader dies of a bug: the engine is to be replaced then.
        reading = threading.Thread(target=self._read, name="reader", daemon=True)
        reading.start()
        self._loader.work()
        reading.join()

    def _read(self) -> None:
        self._reader.serve()
        for runner in list(self._runners.values()):
            runner.stop()
        self._reader.close()
        self._loader.end()

    def _order(self, message: dict[str, Any]) -> None:
        """The supervisor wants a version loaded, or unloaded, beside those that are served."""
        if message["do"] == "load":
            spec = ModelSpec.model_validate(message["model"] | {"arena_fd": message["fd"]})
            self._loader.begin(lambda: self._load_beside(spec, message["id"]))
        else:
            self._loader.begin(lambda: self._unload(message["place"], message["id"]))

    def _load_beside(self, spec: ModelSpec, request: int) -> None:
        load = partial(self._load, spec, limit_s=self._spec.deadline_s)
        error = self._loader.attempt(load, spec.place)
        self._ledger.placed.write(self._placed)
        self._control.answer(request, error)
        self._widen()

    def _unload(self, place: int, request: int) -> None:
        """No live worker has a row of it, or may send one."""
        if runner := self._runners.pop(place, None):  # it may never have been loaded
            runner.leave()
            self._reader.remove(place, runner)
            del runner
        self._placed.pop(place, None)
        self._ledger.placed.write(self._placed)
        self._loader.forget(place)
        self._control.answer(request)

    def _widen(self) -> None:
        widen(self._to_widen, self._cores)
        self._to_widen.clear()

    def _load(self, spec: ModelSpec, known_rows: int = 0, limit_s: float = math.inf) -> None:
        place = spec.place
        memory = adopt_memory(spec.arena_fd)
        check_room(spec.manifest)
        check_graph(Path(spec.bundle), spec.manifest)
        arena = ModelArena(spec.manifest, spec.slots, self._spec.workers, memory)
        runtime, batching = spec.settings.runtime, spec.settings.batching
        threads = _threads_of(runtime, self._cores)
        model = Model(
            Path(spec.bundle), spec.manifest, runtime, threads, self._rehearsal,
            must_all=not self._spec.is_successor,  # which is there, maybe, for one was lost
        )  # fmt: skip
        instances = _instances_of(runtime, model, self._cores // threads)
        with ExitStack() as undo:
            crew = Crew(spec.name, [model.instances.first]) if model.on_cuda else None
            if crew:
                undo.callback(crew.end)
            warmed = warm_up(model, batching, known_rows, crew)
            check_in_time(model, warmed, limit_s)
            inline = runs_inline(model, warmed, batching, runtime)
            if crew:
                reinforce(model, crew, instances)
            elif not inline:
                crew = Crew(spec.name, [model.instances.first] * instances)
            sizing = Sizing(
                spec.name, place, self._block, warmed, batching,
                len(crew.members) if crew else 1, runtime.max_run_ms,
            )  # fmt: skip
            runner = Runner(
                model, arena, sizing, place, self._block, _to_owners(place, arena, self._reader),
                self._occupancies[model.on_cuda], self._watchdog,
            )  # fmt: skip
            undo.callback(runner.leave)
            if crew:
                runner.start(crew)
            self._place(place, model.instances)
            undo.pop_all()
        if worth_widening(model, runtime, self._cores, warmed):
            self._to_widen.append((model, runtime))
        self._reader.add(place, runner, inline)
        self._runners[place] = runner

    def _place(self, place: int, instances: Spread) -> None:
        """It is told to all with the others, once they are loaded."""
        placed = instances.told()
        self._block.cell("inferctl_model_on_cuda", place).set(placed.on_cuda)
        fell_back = placed.missing != "" and not placed.on_cuda
        self._block.cell("inferctl_model_fell_back", place).set(fell_back)
        self._block.cell("inferctl_model_cpu_nodes", place).set(len(placed.nodes_on_cpu))
        self._block.cell("inferctl_model_device_bytes", place).set(instances.taken_bytes)
        instances.tell()
        self._placed[place] = placed


def _threads_of(runtime: RuntimeSettings, cores: int) -> int:
    """Inside one run."""
    auto_threads = cores if runtime.profile == "latency" else 1
    return auto_threads if runtime.intra_op_threads == "auto" else runtime.intra_op_threads


def _instances_of(runtime: RuntimeSettings, model: Model, room: int) -> int:
    """Of a model, on each of its devices; the cores have `room` for so many runs."""
    if runtime.instances != "auto":
        return runtime.instances
    return 2 if model.on_cuda else max(1, room)  # on a GPU one copies while the other computes


def _to_owners(place: int, arena: ModelArena, reader: Reader) -> Deliver:
    def deliver(slots: Sequence[int], verdict: Verdict) -> None:
        for worker, owned in arena.by_owner(slots).items():
            reader.deliver(place, worker, owned, verdict)

    return deliver


def _die(failure: threading.ExceptHookArgs) -> None:
    """A runner that dies of a bug would leave its rows unanswered: let the engine be replaced."""
    if isinstance(failure.exc_value, DeviceLost):
        _end(failure.exc_value)
    threading.__excepthook__(failure)
    sys.stderr.flush()
    os._exit(1)


def _end(error: DeviceLost) -> NoReturn:
    """Another process may have what this one has lost, or the other devices."""
    sys.stderr.write(f"inferctl: a device is lost, and the engine ends: {error}\n")
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
