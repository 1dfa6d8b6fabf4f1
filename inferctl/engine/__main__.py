"""`python -m inferctl.engine CONTROL_FD`: the process that owns the device."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from inferctl.arena.ledger import Block, Ledger
from inferctl.arena.memory import map_memory
from inferctl.arena.slots import ModelArena
from inferctl.arena.spec import EngineSpec, ModelSpec
from inferctl.arena.wire import Control, Verdict
from inferctl.bundles.manifest import GRAPH_FILE
from inferctl.bundles.repository import check_file
from inferctl.cores import available_cores
from inferctl.engine.batcher import Batcher
from inferctl.engine.model import Model
from inferctl.engine.reader import Reader
from inferctl.engine.runner import Deliver, Runner
from inferctl.engine.session import CUDA
from inferctl.errors import InferctlError
from inferctl.settings import RuntimeSettings


def main() -> None:
    """Load and warm every model, say so, and serve until the supervisor hangs up."""
    threading.excepthook = _die
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)  # workers still need it while they drain
    control = Control(socket.socket(fileno=int(sys.argv[1])))
    message = control.receive()
    if message is None:
        return
    spec = EngineSpec.model_validate(message)
    ledger = Ledger(map_memory(spec.ledger_fd), [m.name for m in spec.models], spec.workers)
    block = ledger.blocks[spec.process]
    specs = [_with_measured_batch(model, block) for model in spec.models]
    block.reset_gauges()
    reader = Reader(control)
    runners: list[Runner] = []
    try:
        for number, model_spec in enumerate(specs):
            runner = _load(number, model_spec, spec.workers, ledger, reader)
            reader.add(runner)
            runners.append(runner)
    except InferctlError as error:
        control.send({"event": "failed", "error": str(error)})
        sys.exit(error.exit_code)
    block.cell("inferctl_engine_ready").set(1)
    control.send({"event": "ready"})
    reader.serve()
    for runner in runners:
        runner.stop()


def _with_measured_batch(spec: ModelSpec, block: Block) -> ModelSpec:
    """A successor takes over what its predecessor measured: it is wanted back quickly."""
    measured = int(block.cell("inferctl_max_batch_rows", spec.name).get())
    if not measured:
        return spec
    batching = spec.settings.batching.model_copy(update={"max_batch_rows": measured})
    settings = spec.settings.model_copy(update={"batching": batching})
    return spec.model_copy(update={"settings": settings})


def _load(
    number: int, spec: ModelSpec, workers: int, ledger: Ledger, reader: Reader
) -> Runner:  # fmt: skip
    """Load and warm one model and start its runners."""
    manifest = spec.manifest
    check_file(Path(spec.bundle), manifest, GRAPH_FILE)
    arena = ModelArena(manifest, spec.slots, workers, map_memory(spec.arena_fd))
    runtime = spec.settings.runtime
    threads, instances = _parallelism(runtime, available_cores())
    model = Model(Path(spec.bundle), manifest, runtime, threads)
    on_cuda = model.session.provider == CUDA
    block = ledger.blocks[Ledger.ENGINE]
    block.cell("inferctl_engine_on_cuda").set(float(on_cuda))
    max_batch_rows, run_s = model.warm(spec.settings.batching)
    block.cell("inferctl_max_batch_rows", spec.name).set(max_batch_rows)
    batcher = Batcher(max_batch_rows, spec.settings.batching.max_wait_ms / 1000, run_s)
    runner = Runner(model, arena, batcher, block, _deliver_to_owners(number, arena, reader))
    if on_cuda and runtime.instances == "auto":
        instances = 2  # one copies while the other computes
    runner.start(instances)
    return runner


def _parallelism(runtime: RuntimeSettings, cores: int) -> tuple[int, int]:
    """Threads per run and runners per model; on the CPU their product is the cores."""
    auto_threads = cores if runtime.profile == "latency" else 1
    threads = auto_threads if runtime.intra_op_threads == "auto" else runtime.intra_op_threads
    instances = max(1, cores // threads) if runtime.instances == "auto" else runtime.instances
    return threads, instances


def _deliver_to_owners(model: int, arena: ModelArena, reader: Reader) -> Deliver:
    def deliver(slots: Sequence[int], verdict: Verdict) -> None:
        by_worker: dict[int, list[int]] = defaultdict(list)
        for slot in slots:
            by_worker[arena.owner(slot)].append(slot)
        for worker, owned in by_worker.items():
            reader.deliver(model, worker, owned, verdict)

    return deliver


def _die(failure: threading.ExceptHookArgs) -> None:
    """A runner that dies of a bug would leave its rows unanswered: let the engine be replaced."""
    threading.__excepthook__(failure)
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
