"""An HTTP worker: a process that answers until the supervisor says drain or hangs up."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
import uvloop

from inferctl import heap
from inferctl.arena.ledger import Ledger
from inferctl.arena.memory import map_memory
from inferctl.arena.spec import ModelSpec, Roster, WorkerSpec
from inferctl.arena.wire import Control
from inferctl.cores import available_cores
from inferctl.errors import InferctlError
from inferctl.server.app import App
from inferctl.server.catalogue import Catalogue
from inferctl.server.connection import Connection
from inferctl.server.documentation import Documentation
from inferctl.server.health import State
from inferctl.server.link import EngineLink
from inferctl.server.logs import RequestLog
from inferctl.server.metrics import Exposition
from inferctl.server.offer import Offer, make_offer
from inferctl.server.predict import Predict
from inferctl.server.protocol import Protocol
from inferctl.server.repository import Repository
from inferctl.server.rest import Voice, build_rest
from inferctl.server.tally import Tally
from inferctl.server.timeouts import Timeouts
from inferctl.server.versions import Versions
from inferctl.server.workplace import Workplace
from inferctl.settings import ServerSettings

# Objects that have come and not gone since the last look for cycles.
COLLECT_EVERY = 10_000


class Prototype:
    """What every worker of a service has in common: made once, before they are forked."""

    def __init__(self, models: Sequence[ModelSpec], server: ServerSettings) -> None:
        """Load what the tasks need. Raises BundleError."""
        self._offers: dict[int, Offer] = {}
        for model in models:
            self.add(model)
        self.rest = build_rest(server)
        if server.docs:
            self.rest.openapi()  # what depends on no model no worker need make
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

    def serve(self, spec: WorkerSpec, control: Control) -> None:
        """Be a worker until the supervisor says drain or hangs up."""
        try:
            worker = Worker(self, spec, control)
        except InferctlError as error:
            control.send({"event": "failed", "error": str(error)})
            sys.exit(error.exit_code)
        # What was made so far stays: the collector need not look at it again. What a request makes
        # goes with its last reference: cycles are few, and a wave of requests is none.
        gc.freeze()
        gc.set_threshold(COLLECT_EVERY)
        heap.share_one()
        uvloop.run(worker.serve())
        worker.log.close()


class Worker:
    """Everything one HTTP process holds."""

    def __init__(self, prototype: Prototype, spec: WorkerSpec, control: Control) -> None:
        self._control = control
        ledger = Ledger(map_memory(spec.ledger_fd), spec.workers)
        block = ledger.blocks[spec.process]
        block.reset_gauges(ledger.places())
        catalogue = Catalogue()
        self.link = EngineLink()
        self._versions = versions = Versions(spec, ledger, self.link, catalogue, control.answer)
        versions.hold(prototype.offers(spec.models))
        self.state = State(ledger, self.link, catalogue, time.monotonic())
        self.log = RequestLog(
            spec.logs.path, block.cell("inferctl_log_dropped_total"), terminal=sys.stderr.isatty()
        )
        work = Workplace(
            self.link,
            self.log,
            Tally(block),
            self.state.is_loaded,
            spec.server,
            _decode_threads(spec.workers),
            spec.workers,
        )
        self._predict = predict = Predict(catalogue, work)
        documentation = Documentation(prototype.rest.openapi, catalogue)
        self._repository = Repository(control.send)
        voice = Voice(self.state, Exposition(ledger), catalogue, documentation, self._repository)
        self._socket = socket.socket(fileno=spec.listen_fd)
        self._server = make_server(App(predict, prototype.rest, voice, self.log), spec.server)

    async def serve(self) -> None:
        """Listen, and obey the supervisor."""
        asyncio.get_running_loop().add_reader(self._control.fileno(), self._obey)
        self._control.send({"event": "ready"})
        await self._server.serve([self._socket])

    def _obey(self) -> None:
        while True:
            message = self._control.receive()
            if message is None:
                # A supervisor that is gone takes the service with it, the engine first.
                asyncio.get_running_loop().remove_reader(self._control.fileno())
                self.link.give_up()
                self._drain()
                return
            self._do(message)
            if not self._control.pending:
                return

    def _do(self, message: dict[str, Any]) -> None:
        match message["do"]:
            case "attach":
                self.link.attach(socket.socket(fileno=message["fd"]))
            case "give_up":
                self.link.give_up()
            case "prepare":
                spec = message["model"] | {"arena_fd": message["fd"]}
                self._versions.prepare(ModelSpec.model_validate(spec), message["id"])
            case "serve":
                self._versions.serve(Roster.model_validate(message["roster"]))
                self._predict.renew()
                self._control.answer(message["id"])
            case "leave":
                self._versions.leave(message["place"], message["id"])
            case "hear":
                self._repository.hear(message)
            case "drain":
                self._drain()

    def _drain(self) -> None:
        self.state.draining = True
        self._server.should_exit = True


class SupervisedServer(uvicorn.Server):
    """Obeys the supervisor alone: a signal to the whole group must not cut a drain short."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: they are ignored."""
        yield


def make_server(app: App, settings: ServerSettings) -> SupervisedServer:
    """uvicorn as a worker has it: with our protocol, and nothing that it would do by itself."""
    idle = Timeouts(settings.keep_alive_s, Protocol.timeout_keep_alive_handler)
    return SupervisedServer(
        uvicorn.Config(
            app,
            http=partial(Connection, app.predict, idle),  # type: ignore[arg-type] # it is called, no more
            ws="none",
            lifespan="off",
            proxy_headers=False,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=math.ceil(settings.drain_timeout_s),
        )
    )


def _decode_threads(workers: int) -> int:
    """A thread more than this worker's share of the cores: one may wait for memory."""
    return max(1, available_cores() // workers) + 1
