"""An HTTP worker: a process that answers until the supervisor says drain or hangs up."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from ssl import SSLContext
from typing import Any

import structlog
import uvloop

from inferctl import heap
from inferctl.arena.cells import Cell
from inferctl.arena.ledger import Ledger
from inferctl.arena.memory import map_memory
from inferctl.arena.spec import KeySpec, ModelSpec, Roster, WorkerSpec
from inferctl.arena.wire import Control
from inferctl.cores import available_cores
from inferctl.errors import InferctlError
from inferctl.server.access import Access
from inferctl.server.app import App
from inferctl.server.backlog import CLOSE_TIMEOUT_S
from inferctl.server.catalogue import Catalogue
from inferctl.server.connections import Connections
from inferctl.server.documentation import Documentation
from inferctl.server.health import State
from inferctl.server.jobs.workshop import make_workshop
from inferctl.server.link import EngineLink
from inferctl.server.logs import RequestLog
from inferctl.server.metrics import Exposition
from inferctl.server.offer import Offer, make_offer
from inferctl.server.predict import Predict
from inferctl.server.pulse import Pulse
from inferctl.server.repository import Repository
from inferctl.server.rest import Voice, build_rest
from inferctl.server.serving import make_server
from inferctl.server.tally import Tally
from inferctl.server.traces import Exporter, Traces
from inferctl.server.versions import Versions
from inferctl.server.workplace import Workplace
from inferctl.settings import ServerSettings
from inferctl.tracing import Tracing

log = structlog.get_logger()

# What a worker whose supervisor is dead has for answers that the engine is down.
ORPHAN_GRACE_S = 0.5
# Objects that have come and not gone since the last look for cycles.
COLLECT_EVERY = 10_000


class Prototype:
    """What every worker of a service has in common: made once, before they are forked."""

    def __init__(
        self, models: Sequence[ModelSpec], server: ServerSettings, tracing: Tracing | None,
        tls: SSLContext | None = None, *, takes_jobs: bool = False,
    ) -> None:  # fmt: skip
        """Load what the tasks need. Raises BundleError."""
        self.tls = tls
        self._offers: dict[int, Offer] = {}
        for model in models:
            self.add(model)
        self.rest = build_rest(server, takes_jobs=takes_jobs)
        if server.serves_docs:
            self.rest.openapi()  # what depends on no model no worker need make
        self._tracing = tracing
        self._new_exporter = _find_exporter() if tracing else None
        # What a client sends must not fill stderr; bugs are errors.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

    def add(self, model: ModelSpec) -> None:
        """Another version, for those that are forked from now on. Raises BundleError or OSError."""
        self._offers[model.place] = make_offer(model, self._offers.values())

    def drop(self, place: int) -> None:
        """A version that those to come do without."""
        self._offers.pop(place, None)

    def offers(self, models: Sequence[ModelSpec]) -> list[Offer]:
        """What was made of these."""
        return [self._offers[model.place] for model in models]

    def traces(self, dropped: Cell) -> Traces | None:
        """What makes a worker's, if any are made."""
        if self._tracing is None or self._new_exporter is None:
            return None
        return Traces(self._tracing, self._new_exporter(), dropped)

    def serve(self, spec: WorkerSpec, control: Control) -> None:
        """Be a worker until the supervisor says drain or hangs up."""
        heap.share()  # a worker has its threads from the beginning
        try:
            worker = Worker(self, spec, control)
        except InferctlError as error:
            control.send({"event": "failed", "error": str(error)})
            sys.exit(error.exit_code)
        # What was made so far stays: the collector need not look at it again. What a request makes
        # goes with its last reference: cycles are few, and a wave of requests is none.
        gc.freeze()
        gc.set_threshold(COLLECT_EVERY)
        uvloop.run(worker.serve())
        give_up_s = time.monotonic() + CLOSE_TIMEOUT_S
        worker.log.close()
        if worker.traces is not None:
            worker.traces.close(give_up_s - time.monotonic())


class Worker:
    """Everything one HTTP process holds."""

    def __init__(self, prototype: Prototype, spec: WorkerSpec, control: Control) -> None:
        self._control = control
        ledger = Ledger(map_memory(spec.ledger_fd), spec.workers)
        self._block = block = ledger.blocks[spec.process]
        block.reset_gauges(ledger.places())
        catalogue, self.link = Catalogue(), EngineLink()
        self._versions = versions = Versions(spec, ledger, self.link, catalogue, control.answer)
        versions.hold(prototype.offers(spec.models))
        access = Access(spec.server, spec.keys, ledger, spec.process)
        self.state = State(ledger, self.link, catalogue, spec.server, access.is_keyed)
        self.log = RequestLog(
            spec.logs, block.cell("inferctl_log_dropped_total"), terminal=sys.stderr.isatty()
        )
        self.traces = prototype.traces(block.cell("inferctl_spans_dropped_total"))
        work = Workplace(
            self.link,
            self.log,
            Tally(block),
            self.state,
            spec.server,
            _decode_threads(spec.workers),
            spec.workers,
            self.traces,
        )
        self._predict = predict = Predict(catalogue, work, access)
        documentation = Documentation(prototype.rest.openapi, catalogue)
        self._repository = Repository(control.send)
        exposition = Exposition(ledger, catalogue, spec.metrics)
        self._workshop = make_workshop(spec, ledger, catalogue, self.state, predict)
        jobs = self._workshop.parts if self._workshop else None
        voice = Voice(self.state, exposition, catalogue, documentation, self._repository, jobs)
        connections = Connections(spec.server, ledger, spec.process, _tell_full)
        self._socket = socket.socket(fileno=spec.listen_fd)
        # Among those that have the port already nobody may be sent to models that are still loaded.
        self._joins, self._is_joined = spec.server.share_port, asyncio.Event()
        app = App(predict, prototype.rest, voice, self.log)
        self._server = make_server(app, spec.server, connections, prototype.tls)
        self._pulse = Pulse(block)

    async def serve(self) -> None:
        """Listen, and obey the supervisor."""
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._obey)
        self._pulse.begin()
        self._control.send({"event": "ready"})
        if self._joins:
            await self._is_joined.wait()
        if not self._server.should_exit:
            if self._workshop is not None:
                self._workshop.open()
            await self._server.serve([self._socket])
        if self._workshop is not None:
            await self._workshop.close()
        self._pulse.end()

    def _obey(self) -> None:
        while True:
            message = self._control.receive()
            if message is None:
                # A supervisor that is gone takes the service with it, the engine first.
                asyncio.get_running_loop().remove_reader(self._control.fileno())
                self.link.give_up()
                self._drain()
                asyncio.get_running_loop().call_later(ORPHAN_GRACE_S, os._exit, 1)
                return
            self._do(message)
            if not self._control.pending:
                return

    def _do(self, message: dict[str, Any]) -> None:
        match message["do"]:
            case "attach":
                self.link.attach(socket.socket(fileno=message["fd"]))
                self._is_joined.set()
            case "expect":
                self.link.expect(message["back_s"])
            case "give_up":
                self.link.give_up()
            case "keys":
                keys = [KeySpec.model_validate(key) for key in message["keys"]]
                self._predict.renew_keys(keys)
            case "reopen_log":
                self.log.reopen()
            case "hear":
                self._repository.hear(message)
            case "drain":
                self._drain()
            case _:
                self._do_with_versions(message)

    def _do_with_versions(self, message: dict[str, Any]) -> None:
        match message["do"]:
            case "prepare":
                spec = message["model"] | {"arena_fd": message["fd"]}
                self._versions.prepare(ModelSpec.model_validate(spec), message["id"])
            case "serve":
                self._versions.serve(Roster.model_validate(message["roster"]))
                self._predict.renew()
                self._control.answer(message["id"])
            case "leave":
                self._versions.leave(message["place"], message["id"])

    def _drain(self) -> None:
        self._block.cell("inferctl_draining").set(1)
        self._server.should_exit = True
        self._is_joined.set()
        if self._workshop is not None:
            self._workshop.drain()


def _find_exporter() -> Callable[[], Exporter] | None:
    """Imported before there are workers, and only if it is needed: it is as large as FastAPI."""
    try:
        from inferctl.server.spans import SpanExporter  # noqa: PLC0415
    except ImportError as error:
        log.warning(
            "OTEL_* variables ask for traces, and none are made: pip install 'inferctl[otel]'",
            missing=error.name,
        )
        return None
    return SpanExporter


def _tell_full(turned_away: int) -> None:
    log.warning(
        "no room for more connections: raise server.max_connections and ulimit -n",
        turned_away=turned_away,
    )


def _decode_threads(workers: int) -> int:
    """A thread more than this worker's share of the cores: one may wait for memory."""
    return max(1, available_cores() // workers) + 1
