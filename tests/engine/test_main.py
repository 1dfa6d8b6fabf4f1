"""The engine's process: how many threads it takes, and a real child from its birth to its end."""

from __future__ import annotations

import gc
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from inferctl.arena.layout import arena_bytes
from inferctl.arena.ledger import Ledger, ledger_bytes
from inferctl.arena.memory import create_memory, map_memory
from inferctl.arena.placed import Placed
from inferctl.arena.slots import ModelArena
from inferctl.arena.spec import EngineSpec, ModelSpec
from inferctl.arena.wire import RECORD, Control, Record, RecordStream, Verdict, encode_records
from inferctl.bundles.manifest import GRAPH_FILE, Manifest
from inferctl.cuda.lack import Lack
from inferctl.cuda.tf32 import OVERRIDE
from inferctl.engine import __main__ as module
from inferctl.engine.__main__ import Engine, _instances_of, _threads_of
from inferctl.engine.model import Model
from inferctl.engine.placement import CPU, Placement
from inferctl.engine.watchdog import Watchdog
from inferctl.settings import ModelSettings, RuntimeSettings
from tests.graphs import (
    POISON,
    image_fields,
    image_graph,
    picky_graph,
    text_fields,
    text_graph,
    write_bundle,
)

from .cudas import give_device

TIMEOUT_S = 60.0
DEADLINE_S = 5.0
WORKERS, SLOTS = 2, 8
IMAGES, TEXTS = 0, 1
READY = {"event": "ready", "untried": 0, "lost": []}


@pytest.mark.parametrize(
    ("runtime", "cores", "threads", "instances"),
    [
        ({}, 8, 1, 8),
        ({"profile": "latency"}, 8, 8, 1),
        ({"intra_op_threads": 3}, 8, 3, 2),
        ({"intra_op_threads": 16}, 8, 16, 1),
        ({"instances": 5}, 8, 1, 5),
        ({"instances": 2, "intra_op_threads": 4}, 8, 4, 2),
        ({}, 1, 1, 1),
    ],
)
def test_threads_and_runners_fill_the_cores(
    runtime: dict[str, Any], cores: int, threads: int, instances: int
) -> None:
    settings = RuntimeSettings.model_validate(runtime)
    model = cast(Model, SimpleNamespace(on_cuda=False))
    assert _threads_of(settings, cores) == threads
    assert _instances_of(settings, model, cores // threads) == instances


class Child:
    """A real engine process with an image and a text model, and the parent's ends of it."""

    def __init__(self, folder: Path) -> None:
        self.manifests = [
            write_bundle(folder / "images", picky_graph(), image_fields()),
            write_bundle(folder / "texts", text_graph(), text_fields()),
        ]
        fds = [create_memory("arena", arena_bytes(m, SLOTS)) for m in self.manifests]
        self.arenas = [
            ModelArena(manifest, SLOTS, WORKERS, map_memory(fd))
            for manifest, fd in zip(self.manifests, fds, strict=True)
        ]
        for arena in self.arenas:
            arena.deadline_s[:] = time.monotonic() + 1000
        ledger_fd = create_memory("ledger", ledger_bytes(Ledger.FIRST_WORKER + WORKERS))
        self.ledger = Ledger(map_memory(ledger_fd), WORKERS)
        for place, manifest in enumerate(self.manifests):
            self.ledger.give_place(place, manifest.name, manifest.version)
        self.spec = EngineSpec(
            models=tuple(
                _model_spec(place, manifest, folder / name, fd)
                for place, manifest, name, fd in zip(
                    (IMAGES, TEXTS), self.manifests, ("images", "texts"), fds, strict=True
                )
            ),
            workers=WORKERS,
            ledger_fd=ledger_fd,
            process=Ledger.ENGINE,
            is_successor=False,
            deadline_s=DEADLINE_S,
        )
        ours, theirs = socket.socketpair()
        ours.settimeout(TIMEOUT_S)
        self.control = Control(ours)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "inferctl.engine", str(theirs.fileno())],
            pass_fds=(theirs.fileno(), ledger_fd, *fds),
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        for fd in (ledger_fd, *fds):
            os.close(fd)

    def attach(self, worker: int) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.settimeout(TIMEOUT_S)
        with theirs:
            self.control.send({"do": "attach", "worker": worker}, theirs.fileno())
        return ours

    def end(self) -> tuple[int, str]:
        """The exit code and what it wrote to stderr."""
        _, errors = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, errors


def _model_spec(place: int, manifest: Manifest, bundle: Path, arena_fd: int) -> ModelSpec:
    return ModelSpec(
        place=place,
        manifest=manifest,
        bundle=str(bundle),
        slots=SLOTS,
        arena_fd=arena_fd,
        settings=ModelSettings(runtime=RuntimeSettings(device="cpu", instances=1)),
    )


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    child = Child(tmp_path)
    yield child
    child.control.close()
    child.process.kill()
    child.process.communicate()


def answers(worker: socket.socket, count: int) -> list[Record]:
    stream, found = RecordStream(), list[Record]()
    while len(found) < count:
        data = worker.recv(RECORD.size * (count - len(found)))
        assert data, "the engine closed the socket"
        found += stream.feed(data)
    return sorted(found)


def test_rows_of_every_worker_and_model_are_answered(child: Child) -> None:
    images, texts = child.arenas
    images.inputs["image"][1] = 7
    images.inputs["image"][5] = 9
    images.inputs["image"][6] = POISON
    texts.inputs["input_ids"][2, :3] = [5, 6, 7]
    texts.inputs["attention_mask"][2, :3] = 1
    texts.tokens[2] = 3
    texts.deadline_s[0] = 0.0
    child.control.send(child.spec.model_dump(mode="json"))
    with child.attach(0) as first, child.attach(1) as second:
        assert child.control.receive() == READY
        assert child.ledger.total("inferctl_engine_ready") == 1
        first.sendall(encode_records([(1, IMAGES, 0), (2, TEXTS, 0), (0, TEXTS, 0)]))
        second.sendall(encode_records([(5, IMAGES, 0), (6, IMAGES, 0)]))
        assert answers(first, 3) == [
            (0, TEXTS, Verdict.EXPIRED), (1, IMAGES, Verdict.DONE), (2, TEXTS, Verdict.DONE),
        ]  # fmt: skip
        assert answers(second, 2) == [(5, IMAGES, Verdict.DONE), (6, IMAGES, Verdict.FAILED)]
        child.control.hang_up()
        assert child.end()[0] == 0
    assert (images.outputs["scores"][1] == 7).all()
    assert (images.outputs["scores"][5] == 9).all()
    assert texts.outputs["scores"][2].tolist() == [18, 3]
    written = np.flatnonzero(images.finished_s)
    assert written.tolist() == [1, 5, 6]
    ledger = child.ledger
    assert ledger.total("inferctl_rows_total", IMAGES) == 2
    assert ledger.total("inferctl_dropped_total", TEXTS, "expired") == 1
    assert ledger.total("inferctl_max_batch_rows", IMAGES) in (1, 2, 4)
    assert ledger.placed.read() == {IMAGES: Placed("cpu"), TEXTS: Placed("cpu")}


def test_a_bundle_that_does_not_load_is_told_and_exits_3(child: Child, tmp_path: Path) -> None:
    (tmp_path / "texts" / GRAPH_FILE).write_bytes(b"damaged")
    child.control.send(child.spec.model_dump(mode="json"))
    message = child.control.receive()
    assert message is not None
    assert message["event"] == "failed"
    assert "size differs" in message["error"]
    assert str(tmp_path / "texts") in message["error"]
    assert child.end() == (3, "")
    assert child.ledger.total("inferctl_engine_ready") == 0


def test_where_models_run_is_its_predecessors_word_until_it_is_ready(
    child: Child, tmp_path: Path
) -> None:
    """Images are loaded before texts, and here there is no GPU."""
    before = {IMAGES: Placed("cuda:0"), TEXTS: Placed("cuda:0")}
    child.ledger.placed.write(before)
    (tmp_path / "texts" / GRAPH_FILE).write_bytes(b"damaged")
    child.control.send(child.spec.model_dump(mode="json"))
    assert (child.control.receive() or {})["event"] == "failed"
    assert child.end()[0] == 3
    assert child.ledger.placed.read() == before


def test_what_the_system_refuses_a_model_is_told_and_exits_3(child: Child) -> None:
    first, second = child.spec.models
    models = (first, second.model_copy(update={"arena_fd": 999}))
    child.control.send(child.spec.model_copy(update={"models": models}).model_dump(mode="json"))
    message = child.control.receive() or {}
    assert (message["event"], message["error"]) == ("failed", "[Errno 9] Bad file descriptor")
    assert child.end() == (3, "")


def load(child: Child, folder: Path, place: int, **changes: Any) -> ModelArena:
    """Ask a running engine for another version of the images."""
    manifest = write_bundle(folder, image_graph(), image_fields(version=place, **changes))
    fd = create_memory("arena", arena_bytes(manifest, SLOTS))
    arena = ModelArena(manifest, SLOTS, WORKERS, map_memory(fd))
    arena.deadline_s[:] = time.monotonic() + 1000
    spec = _model_spec(place, manifest, folder, fd).model_dump(mode="json")
    child.control.send({"do": "load", "id": place, "model": spec}, fd)
    os.close(fd)
    return arena


def test_a_version_is_loaded_served_and_unloaded_beside_others(
    child: Child, tmp_path: Path
) -> None:
    child.control.send(child.spec.model_dump(mode="json"))
    with child.attach(0) as worker:
        assert child.control.receive() == READY
        arena = load(child, tmp_path / "new", 7)
        assert child.control.receive() == {"event": "answer", "to": 7, "error": None}
        assert child.ledger.total("inferctl_max_batch_rows", 7) > 0
        arena.inputs["image"][1], child.arenas[IMAGES].inputs["image"][1] = 5, 6
        worker.sendall(encode_records([(1, 7, 0), (1, IMAGES, 0)]))
        assert answers(worker, 2) == [(1, IMAGES, Verdict.DONE), (1, 7, Verdict.DONE)]
        assert (arena.outputs["scores"][1] == 5).all()

        for place in (7, 8):  # the second was never loaded
            child.control.send({"do": "unload", "id": 20 + place, "place": place})
            answer = {"event": "answer", "to": 20 + place, "error": None}
            assert child.control.receive() == answer
        assert child.ledger.total("inferctl_max_batch_rows", 7) == 0
        maps = Path(f"/proc/{child.process.pid}/maps").read_text()
        assert maps.count("memfd:inferctl-arena") == 2
        worker.sendall(encode_records([(2, IMAGES, 0)]))
        assert answers(worker, 1) == [(2, IMAGES, Verdict.DONE)]
        child.control.hang_up()
        assert child.end() == (0, "")


def test_a_version_that_does_not_load_leaves_the_others_alone(child: Child, tmp_path: Path) -> None:
    child.control.send(child.spec.model_dump(mode="json"))
    with child.attach(0) as worker:
        assert child.control.receive() == READY
        load(
            child, tmp_path / "new", 7, inputs=[{"name": "x", "dtype": "uint8", "shape": ["rows"]}]
        )
        answer = child.control.receive() or {}
        assert (answer["to"], answer["error"].startswith("pixels fails at 1 rows")) == (7, True)
        worker.sendall(encode_records([(2, IMAGES, 0)]))
        assert answers(worker, 1) == [(2, IMAGES, Verdict.DONE)]
        maps = Path(f"/proc/{child.process.pid}/maps").read_text()
        assert maps.count("memfd:inferctl-arena") == 2


def test_a_bug_in_the_loader_takes_the_engine_with_it(child: Child, tmp_path: Path) -> None:
    """Or nothing would ever be loaded or unloaded any more, and whoever asked would wait."""
    child.control.send(child.spec.model_dump(mode="json"))
    with child.attach(0):
        assert child.control.receive() == READY
        load(child, tmp_path / "new", 10**9)
        code, errors = child.end()
        assert (code, "IndexError" in errors) == (1, True)


def test_a_supervisor_that_dies_before_it_spoke_ends_the_engine(child: Child) -> None:
    child.control.hang_up()
    assert child.end() == (0, "")


def test_gauges_of_the_dead_predecessor_are_reset(child: Child) -> None:
    block = child.ledger.blocks[Ledger.ENGINE]
    block.cell("inferctl_queue_rows", IMAGES).set(12)
    block.cell("inferctl_rows_total", IMAGES).set(5)
    child.control.send(child.spec.model_dump(mode="json"))
    assert child.control.receive() == READY
    assert child.ledger.total("inferctl_queue_rows", IMAGES) == 0
    assert child.ledger.total("inferctl_rows_total", IMAGES) == 5


def test_a_thread_that_dies_of_a_bug_takes_the_engine_with_it() -> None:
    """Its rows would wait for ever: the supervisor must see a death."""
    program = (
        "import threading, time\n"
        "from inferctl.engine.__main__ import _die\n"
        "threading.excepthook = _die\n"
        "threading.Thread(target=lambda: {}['absent']).start()\n"
        "time.sleep(60)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert ended.returncode == 1
    assert "KeyError: 'absent'" in ended.stderr


def test_a_lost_device_ends_the_engine_in_a_line() -> None:
    program = (
        "import threading, time\n"
        "from inferctl.engine.__main__ import _die\n"
        "from inferctl.engine.session import DeviceLost\n"
        "def lose(): raise DeviceLost('CUDA failure 719: unspecified launch failure')\n"
        "threading.excepthook = _die\n"
        "threading.Thread(target=lose).start()\n"
        "time.sleep(60)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=TIMEOUT_S
    )
    assert (ended.returncode, ended.stderr) == (
        1,
        "inferctl: a device is lost, and the engine ends: CUDA failure 719: unspecified launch "
        "failure\n",
    )


def test_a_successor_leaves_out_what_it_cannot_load(child: Child, tmp_path: Path) -> None:
    """Its folder is gone; what others were served stays."""
    shutil.rmtree(tmp_path / "texts")
    spec = child.spec.model_copy(update={"is_successor": True})
    child.control.send(spec.model_dump(mode="json"))
    with child.attach(0) as worker:
        ready = child.control.receive() or {}
        ((place, reason),) = ready["lost"]
        assert (place, "'model.onnx' is missing" in reason) == (TEXTS, True)
        worker.sendall(encode_records([(2, IMAGES, 0)]))
        assert answers(worker, 1) == [(2, IMAGES, Verdict.DONE)]
    assert child.ledger.total("inferctl_engine_ready") == 1


def test_a_successor_that_can_load_nothing_says_so(child: Child, tmp_path: Path) -> None:
    for name in ("images", "texts"):
        shutil.rmtree(tmp_path / name)
    spec = child.spec.model_copy(update={"is_successor": True})
    child.control.send(spec.model_dump(mode="json"))
    message = child.control.receive() or {}
    assert (message["event"], "'model.onnx' is missing" in message["error"]) == ("failed", True)


@pytest.mark.row(109)
def test_a_version_that_no_request_would_wait_for_is_refused(child: Child, tmp_path: Path) -> None:
    spec = child.spec.model_copy(update={"deadline_s": 1e-9})
    child.control.send(spec.model_dump(mode="json"))
    assert child.control.receive() == READY
    load(child, tmp_path / "new", 7)
    answer = child.control.receive() or {}
    assert "longer than the 1e-09 s of server.request_timeout_ms" in answer["error"]


def test_a_successor_takes_over_the_measured_batch(child: Child) -> None:
    """It need not measure again what its predecessor knew; it goes on refining it."""
    block = child.ledger.blocks[Ledger.ENGINE]
    block.cell("inferctl_max_batch_rows", IMAGES).set(2)
    child.control.send(child.spec.model_dump(mode="json"))
    assert child.control.receive() == READY
    assert child.ledger.total("inferctl_max_batch_rows", IMAGES) == 2


def test_a_successor_measures_again_where_the_memory_was_too_small(child: Child) -> None:
    """On a GPU it would come to nothing larger any more."""
    block = child.ledger.blocks[Ledger.ENGINE]
    for name in ("inferctl_max_batch_rows", "inferctl_batch_cap_rows"):
        block.cell(name, IMAGES).set(3)
    child.control.send(child.spec.model_dump(mode="json"))
    assert child.control.receive() == READY
    assert child.ledger.total("inferctl_max_batch_rows", IMAGES) != 3


def engine_here(
    control: Control, models: tuple[ModelSpec, ...] = (), deadline_s: float = DEADLINE_S
) -> tuple[Engine, Ledger]:
    """In this process, and the ledger that it writes."""
    ledger_fd = create_memory("ledger", ledger_bytes(Ledger.FIRST_WORKER + WORKERS))
    ledger = Ledger(map_memory(ledger_fd), WORKERS)
    spec = EngineSpec(
        models=models, workers=WORKERS, ledger_fd=ledger_fd, process=Ledger.ENGINE,
        is_successor=False, deadline_s=deadline_s,
    )  # fmt: skip
    engine = Engine(spec, control)
    os.close(ledger_fd)
    return engine, ledger


@pytest.mark.parametrize(("second", "override"), [(False, (OVERRIDE, "0")), (True, None)])
def test_one_model_without_tf32_rules_it_out_before_the_first_is_loaded(
    second: bool, override: tuple[str, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watchdog, "start", lambda _: None)
    done: list[Any] = []
    monkeypatch.setattr(os, "putenv", lambda *variable: done.append(variable))
    monkeypatch.setattr(Engine, "_load", lambda *_: done.append("loaded"))
    manifest = write_bundle(tmp_path / "images", image_graph(), image_fields())
    models = [
        _model_spec(place, manifest, tmp_path / "images", 0).model_copy(
            update={"settings": ModelSettings(runtime=RuntimeSettings(tf32=tf32))}
        )
        for place, tf32 in enumerate((True, second))
    ]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        engine_here(Control(theirs), tuple(models))[0].load()
    assert done == [*([override] if override else []), "loaded", "loaded"]


LOST = Lack("libcuda.so.1 is not found", "install it")
NO_TENSORRT = Lack("libnvinfer.so.10 is not found", "install it")


def placed_as(runtime: RuntimeSettings) -> Placement:
    """Of a machine whose first GPU is gone, and whose second is there, as its driver would say."""
    if runtime.device == "cuda:1":
        return Placement("cuda:1", (CPU,), "GPU-2", NO_TENSORRT, ("Cos", "Sin"))
    return Placement("cpu", (CPU,), lack=LOST if runtime.device == "auto" else None)


class Placing(Model):
    """A model on the CPU, which is what is said of it."""

    def __init__(
        self, bundle: Path, manifest: Manifest, runtime: RuntimeSettings, *others: Any, **named: Any
    ) -> None:
        cpu = RuntimeSettings(device="cpu")
        super().__init__(bundle, manifest, cpu, *others, **named)
        self.instances.session.placement = placed_as(runtime)


def test_each_model_has_a_place_of_its_own_until_it_is_unloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Model", Placing)
    monkeypatch.setattr(Watchdog, "start", lambda _: None)
    manifests = [
        write_bundle(tmp_path / "images", image_graph(), image_fields()),
        write_bundle(tmp_path / "texts", text_graph(), text_fields()),
    ]
    ours, theirs = socket.socketpair()
    engine, ledger = engine_here(Control(theirs))

    def load(place: int, device: str) -> Placed:
        arena = create_memory("arena", arena_bytes(manifests[place], SLOTS))
        spec = _model_spec(place, manifests[place], tmp_path / ("images", "texts")[place], arena)
        own = ModelSettings.model_validate({"runtime": {"device": device}})
        engine._load_beside(spec.model_copy(update={"settings": own}), request=1)
        return ledger.placed.read()[place]

    def unload(place: int) -> None:
        engine._unload(place, request=1)

    def told(place: int) -> list[float]:
        names = ("on_cuda", "fell_back", "cpu_nodes")
        return [ledger.total(f"inferctl_model_{name}", place) for name in names]

    with ours, theirs:
        ledger.placed.write({IMAGES: Placed("cuda:0")})  # of a predecessor
        engine.load()
        assert ledger.placed.read() == {}
        told_first = Placed("cuda:1", ("GPU-2",), *NO_TENSORRT, ("Cos", "Sin"))
        assert load(IMAGES, "cuda:1") == told_first
        assert load(TEXTS, "auto") == Placed("cpu", ("",), *LOST)
        assert (told(IMAGES), told(TEXTS)) == ([1, 0, 2], [0, 1, 0])
        unload(TEXTS)
        assert load(TEXTS, "cpu") == Placed("cpu")
        assert (told(IMAGES), told(TEXTS)) == ([1, 0, 2], [0, 0, 0])
        unload(IMAGES)
        assert ledger.placed.read() == {TEXTS: Placed("cpu")}
        assert told(IMAGES) == [0, 0, 0]


@pytest.mark.parametrize(("deadline_s", "instances"), [(DEADLINE_S, 2), (1e-9, 0)])
def test_of_a_version_that_leaves_nothing_is_left_on_its_device(
    deadline_s: float, instances: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or of one that is not taken, as no request would wait for it; without a look for rings."""
    monkeypatch.setattr(Watchdog, "start", lambda _: None)
    monkeypatch.setattr(gc, "collect", lambda: 0)
    device = give_device(monkeypatch)
    manifest = write_bundle(tmp_path / "images", image_graph(), image_fields())
    arena = create_memory("arena", arena_bytes(manifest, SLOTS))
    spec = _model_spec(IMAGES, manifest, tmp_path / "images", arena)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        engine, ledger = engine_here(Control(theirs), deadline_s=deadline_s)
        gc.disable()
        engine._load_beside(spec.model_copy(update={"settings": ModelSettings()}), request=1)
        taken_bytes = ledger.total("inferctl_model_device_bytes", IMAGES)
        assert ledger.total("inferctl_instances", IMAGES) == instances
        assert taken_bytes == 2**30 - device.left
        assert (taken_bytes > 0) is (instances > 0)
        engine._unload(IMAGES, request=2)
        gc.enable()
    assert (device.allocated, device.handles) == ({}, set())
    assert ledger.total("inferctl_model_device_bytes", IMAGES) == 0
