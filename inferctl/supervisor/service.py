"""The service: one engine, N workers, kept alive and drained together."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog

from inferctl.arena.ledger import BORN_S, PID, Ledger, ledger_bytes
from inferctl.arena.memory import create_memory, map_memory
from inferctl.arena.spec import EngineSpec, ModelSpec, WorkerSpec
from inferctl.errors import StartError
from inferctl.settings import Settings
from inferctl.supervisor.child import Child, Fork, Interpreter, all_ready, describe_exit
from inferctl.supervisor.contradictions import planned_workers
from inferctl.supervisor.descriptors import raise_limit
from inferctl.supervisor.desk import Desk
from inferctl.supervisor.exposure import warn
from inferctl.supervisor.listen import listen, url_of
from inferctl.supervisor.loops import LoopWatch
from inferctl.supervisor.memory import MemoryWatch
from inferctl.supervisor.past import EnginePast, Past
from inferctl.supervisor.placing import log_placed
from inferctl.supervisor.reloader import Reloader
from inferctl.supervisor.storekeeper import StoreKeeper
from inferctl.supervisor.terminal import is_hung_up
from inferctl.supervisor.watch import Watch
from inferctl.supervisor.worker import Nursery
from inferctl.tls import tls_context
from inferctl.tracing import Tracing

log = structlog.get_logger()

# What a drain may take beyond the requests' own limit: processes closing down.
SHUTDOWN_GRACE_S = 2.0


class Service:
    """Everything the supervisor owns."""

    def __init__(self, read_settings: Callable[[], Settings], tracing: Tracing | None) -> None:
        """Bind, then look at the models. Raises StartError, BundleError or SettingsError.

        Nothing runs yet.
        """
        self._settings = settings = read_settings()
        raise_limit()
        server = settings.server
        workers = planned_workers(settings)
        tls, takes_jobs = tls_context(server), settings.jobs.backend != "off"
        self._nursery = Nursery(server, tracing, tls, takes_jobs=takes_jobs)
        self._sockets = listen(server.host, server.port, workers, joins=server.share_port)
        self.url = url_of(self._sockets[0], "https" if server.tls_cert else "http")
        self._ledger_fd = create_memory("ledger", ledger_bytes(Ledger.FIRST_WORKER + workers))
        self._ledger = Ledger(map_memory(self._ledger_fd), workers)
        self._supervisor_block = self._ledger.blocks[Ledger.SUPERVISOR]
        self._reloader = Reloader(settings, read_settings, self._ledger, workers, self._nursery)
        self._reloader.begin()
        engine_block = self._ledger.blocks[Ledger.ENGINE]
        self._engine = Interpreter(
            "engine", "inferctl.engine", self._engine_spec,
            lambda: self._shared(self._reloader.stock.of_engine), engine_block,
        )  # fmt: skip
        self._workers = [
            Fork(
                "worker", partial(self._nursery.work, partial(self._worker_spec, index)),
                partial(self._inherited_by_worker, index), block,
            )
            for index, block in enumerate(self._ledger.blocks[Ledger.FIRST_WORKER :])
        ]  # fmt: skip
        self._watch = Watch(self._engine, engine_block)
        self._engine_past = EnginePast(engine_block, self._supervisor_block)
        self._worker_pasts = [Past(block) for block in self._ledger.blocks[Ledger.FIRST_WORKER :]]
        self._reloader.serve_with(self._engine, self._workers)
        self._desk, self._loops = Desk(self._reloader), LoopWatch(self._workers, self._ledger)
        memory = MemoryWatch(server.memory_limit_bytes, self._ledger)
        jobs = StoreKeeper(settings.jobs, self._ledger, joins=server.share_port)
        self._watches = self._watch, self._loops, memory, jobs
        self._stopping = asyncio.Event()
        self._ending = False  # whether processes that end are wanted to
        self._exit_code, self._joinable = 0, False

    def _engine_spec(self) -> EngineSpec:
        return EngineSpec(
            models=tuple(self._reloader.stock.of_engine.values()),
            workers=len(self._sockets), ledger_fd=self._ledger_fd, process=Ledger.ENGINE,
            is_successor=self._ledger.total("inferctl_restarts_total", value="engine") > 0,
            deadline_s=self._settings.server.request_timeout_ms / 1000,
            reads_gpus=self._settings.metrics.gpu,
        )  # fmt: skip

    def _worker_spec(self, index: int) -> WorkerSpec:
        return WorkerSpec(
            models=tuple(self._reloader.stock.of_workers.values()),
            workers=len(self._sockets), ledger_fd=self._ledger_fd,
            process=Ledger.FIRST_WORKER + index, roster=self._reloader.roster,
            keys=self._reloader.keyring.keys, index=index, listen_fd=self._sockets[index].fileno(),
            server=self._settings.server, logs=self._settings.logs, metrics=self._settings.metrics,
            jobs=self._settings.jobs,
        )  # fmt: skip

    def _shared(self, models: Mapping[int, ModelSpec]) -> list[int]:
        """The descriptors of the memory that a process has which serves these."""
        return [self._ledger_fd, *(spec.arena_fd for spec in models.values())]

    def _inherited_by_worker(self, index: int) -> list[int]:
        return [*self._shared(self._reloader.stock.of_workers), self._sockets[index].fileno()]

    async def run(self) -> int:
        """Serve until SIGINT or SIGTERM; the exit code, 0 after a drain, 128 + n after a second
        signal n. Raises StartError when the first start fails."""
        self._listen_to_signals()
        self._supervisor_block.state(PID).set(os.getpid())
        self._supervisor_block.cell("inferctl_start_time_seconds").set(time.time())
        log.info("starting", workers=len(self._workers), models=self._reloader.told())
        self._supervisor_block.state(BORN_S).set(begun_s := time.monotonic())
        watching = [asyncio.create_task(watch.keep()) for watch in self._watches]
        try:
            self._engine.start()
            self._nursery.prepare(tuple(self._reloader.stock.of_workers.values()))
            for worker in self._workers:
                worker.start()
            await all_ready([self._engine, *self._workers], self._stopping)
            if self._stopping.is_set():
                log.info("stopped while starting")
                return self._exit_code
            for past in (self._engine_past, *self._worker_pasts):
                past.is_ready()
            self._engine_is_ready()
            log.info("ready", url=self.url, took_s=round(time.monotonic() - begun_s, 2))
            warn(self._settings.server)
            log_placed(self._reloader.stock.of_engine, self._ledger.placed.read())
            tasks = [asyncio.create_task(self._keep_engine())]
            tasks += [asyncio.create_task(self._keep_worker(i)) for i in range(len(self._workers))]
            self._desk.open()
            await self._stopped_or_unsupervised(tasks)
            self._desk.close()
            await self._give_notice(tasks)
            await self._drain(tasks)
            return self._exit_code
        finally:
            for task in watching:
                task.cancel()
            for child in (self._engine, *self._workers):
                child.kill()

    async def _stopped_or_unsupervised(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait for the end. Raises StartError when a process can no longer be replaced."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in tasks:
            if task.done() and (error := task.exception()):
                raise StartError(f"a process that died cannot be replaced: {error}") from error

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            self._exit_code = 128 + number
            self._ending = True
            for child in (self._engine, *self._workers):
                child.kill()
            log.warning("stopping at once", signal=number.name)
        else:
            self._stopping.set()
            log.info("draining", signal=number.name)

    def _on_hangup(self) -> None:
        if is_hung_up():
            self._on_signal(signal.SIGHUP)
        else:
            for worker in self._workers:
                worker.tell({"do": "reopen_log"})
            self._desk.wake()

    def _engine_is_ready(self) -> None:
        """Join every worker to a new engine. Not before it is ready: a row that is submitted
        counts as tried, and one that no engine has read was not."""
        self._joinable = True
        self._reloader.engine_ready.set()
        for index in range(len(self._workers)):
            self._connect(index)

    def _connect(self, index: int) -> None:
        """Give a worker and the engine the two ends of a new socket."""
        if not self._joinable:
            return
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._engine.tell({"do": "attach", "worker": index}, ours.fileno())
            self._workers[index].tell({"do": "attach"}, theirs.fileno())

    async def _keep_engine(self) -> None:
        """Replace the engine whenever it dies; workers keep its rows meanwhile."""
        past = self._engine_past
        while (code := await self._died(self._engine, past, self._engine_is_ready)) is not None:
            past.note(code, was_hanging=self._watch.has_killed)
            self._joinable = False
            self._reloader.engine_ready.clear()
            self._ledger.blocks[Ledger.ENGINE].cell("inferctl_engine_ready").set(0)
            if (delay_s := self._delay_s(past, "engine")) is None:
                break
            back_s = time.monotonic() + delay_s + past.start_took_s
            for worker in self._workers:
                worker.tell({"do": "expect", "back_s": back_s})
            if not await self._start_again(self._engine, past, delay_s):
                break
        # Nothing will answer what workers still hold.
        for worker in self._workers:
            worker.tell({"do": "give_up"})

    async def _keep_worker(self, index: int) -> None:
        """Replace a worker whenever it dies."""
        worker, past = self._workers[index], self._worker_pasts[index]
        on_ready = partial(self._connect, index)
        while (code := await self._died(worker, past, on_ready)) is not None:
            past.note(code, was_hanging=self._loops.has_killed(worker))
            delay_s = self._delay_s(past, "worker")
            if delay_s is None or not await self._start_again(worker, past, delay_s):
                return

    def _delay_s(self, past: Past, role: str) -> float | None:
        """When to start it again; a process that keeps dying ends the service, exit code 3.

        A service that is half there would look alive to whoever could start it again.
        """
        delay_s = past.next_delay_s()
        if delay_s is None:
            self._exit_code = StartError.exit_code
            self._stopping.set()
            log.error("it keeps dying: the service ends", process=role)
        return delay_s

    async def _start_again(self, child: Child, past: Past, delay_s: float) -> bool:
        """Start it after so long; not when the service ends by then."""
        await asyncio.sleep(delay_s)
        if self._ending:
            return False
        past.is_born()
        child.start()
        return True

    async def _died(self, child: Child, past: Past, on_ready: Callable[[], None]) -> int | None:
        """Wait for a child's end, passing on what it says; its exit code unless it was wanted."""
        while (message := await child.hear()) is not None:
            match message["event"]:
                case "answer":
                    self._reloader.errands.heard(message)
                case "ask":
                    self._desk.take(child, message)
                case "failed":
                    log.error("cannot start", process=child.name, reason=message["error"])
                case "ready":
                    past.is_ready(message.get("untried", 0))
                    on_ready()
                    self._desk.lose(message.get("lost", ()))
                    log.info("ready again", process=child.name, pid=child.pid)
                    if child is self._engine:
                        log_placed(self._reloader.stock.of_engine, self._ledger.placed.read())
        self._reloader.errands.lost(child)
        code = await child.death()
        if self._ending:
            return None
        self._supervisor_block.cell("inferctl_restarts_total", value=child.name).add()
        log.warning("died", process=child.name, pid=child.pid, reason=describe_exit(code))
        return code

    async def _give_notice(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Not ready any more: whoever sends requests here has some time to learn it, in which all
        goes on as before."""
        self._supervisor_block.cell("inferctl_draining").set(1)
        delay_s = self._settings.server.drain_delay_s
        await asyncio.wait(tasks, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)

    async def _drain(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Workers first: they finish what they took in; then the engine has nothing to do."""
        self._ending = True
        engine, *workers = tasks
        for worker in self._workers:
            worker.tell({"do": "drain"})
        for sock in self._sockets:
            sock.close()
        drain_timeout_s = self._settings.server.drain_timeout_s
        _, late = await asyncio.wait(workers, timeout=drain_timeout_s + SHUTDOWN_GRACE_S)
        self._engine.hang_up()
        _, stuck = await asyncio.wait([engine], timeout=SHUTDOWN_GRACE_S)
        for task in late | stuck:
            task.cancel()
        log.info("stopped", late=len(late | stuck))
