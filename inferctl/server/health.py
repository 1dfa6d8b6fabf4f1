"""What the service says about its state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

from pydantic import BaseModel

from inferctl.arena.board import Gpu
from inferctl.arena.ledger import BEAT_S, BORN_S, MEMORY_IS_SHORT, PID, Ledger
from inferctl.cautions import of_openness
from inferctl.server import cautions
from inferctl.server.catalogue import Catalogue
from inferctl.server.link import EngineLink
from inferctl.server.restarts import Restart, last_restart
from inferctl.server.served import ServedModel
from inferctl.settings import RuntimeSettings, ServerSettings

# `connecting` is one that this worker is not joined to yet.
EngineState = Literal["starting", "ready", "connecting", "restarting"]

# An event loop that is away longer makes the service not ready.
BLOCKED_S = 5.0


class Live(BaseModel):
    """`GET /livez` and `/v2/health/live`."""

    live: bool


class Ready(BaseModel):
    """`GET /readyz` and `/v2/health/ready`."""

    ready: bool


class Check(NamedTuple):
    """Something that must be well for requests to be sent here, and what is wrong with it."""

    name: str
    problem: str = ""


class ModelHealth(BaseModel):
    """One model's state."""

    version: int
    versions: list[int]
    task: str
    state: Literal["loading", "ready"]
    device: Literal["cpu", "cuda"]
    queue_rows: int
    max_batch_rows: int


class DeviceHealth(BaseModel):
    """The accelerator and its memory; a figure that was not measured is null."""

    name: str
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    memory_limit_bytes: int | None


class Health(BaseModel):
    """`GET /health`."""

    status: Literal["ok", "degraded", "starting", "draining"]
    model_loaded: bool
    models: dict[str, ModelHealth]
    device: DeviceHealth | None
    engine: EngineState
    workers: int
    queue_rows: int
    uptime_s: float
    engine_restarts: int
    last_restart: Restart | None
    warnings: list[str]


@dataclass(slots=True)
class State:
    """The worker's view of the service; `is_keyed` is whether it has API keys just now."""

    ledger: Ledger
    link: EngineLink
    catalogue: Catalogue
    server: ServerSettings
    is_keyed: Callable[[], bool]
    _was_loaded: bool = False

    @property
    def engine_ready(self) -> bool:
        """Whether an engine is there with every model warm."""
        return self.engine == "ready"

    @property
    def engine(self) -> EngineState:
        """What the engine does, and its successor."""
        if not self._says_ready:
            return "restarting" if self.engine_restarts else "starting"
        return "ready" if self.link.attached else "connecting"

    @property
    def engine_restarts(self) -> int:
        """How often the engine was replaced."""
        return int(self.ledger.total("inferctl_restarts_total", value="engine"))

    def is_loaded(self) -> bool:
        """Whether requests may come in: they wait for a successor, not for the first engine.

        The supervisor replaces an engine only after a first one was ready, and says so before it
        takes back that it is: what was loaded once stays so.
        """
        if not self._was_loaded:
            self._was_loaded = self._says_ready or self.engine_restarts > 0
        return self._was_loaded

    def memory_is_short(self) -> bool:
        """Whether the service has come near the limit of its memory, as the supervisor saw."""
        return bool(self.ledger.blocks[Ledger.SUPERVISOR].state(MEMORY_IS_SHORT).get())

    @property
    def draining(self) -> bool:
        """Whether the service ends: nothing is wrong, and other ones should be asked."""
        return self.ledger.total("inferctl_draining") > 0

    @property
    def _says_ready(self) -> bool:
        return self.ledger.total("inferctl_engine_ready") == 1

    @property
    def ready(self) -> bool:
        """Whether a balancer should send requests here."""
        return not any(check.problem for check in self.checks())

    def checks(self) -> list[Check]:
        """What must be well for that."""
        engine, blocked = self.engine, self._blocked()
        loading = [] if engine == "ready" else self.catalogue.models.values()
        return [
            Check("engine", "" if engine == "ready" else engine),
            Check("models", ", ".join(f"{one.name} v{one.version} loading" for one in loading)),
            Check("workers", f"{blocked} of {self._workers()} blocked" if blocked else ""),
            Check("shutdown", "draining" if self.draining else ""),
        ]

    def _blocked(self) -> int:
        """Workers whose event loop is: who comes to one of those is not answered."""
        long_ago_s = time.monotonic() - BLOCKED_S
        return sum(
            0.0 < block.state(BEAT_S).get() < long_ago_s and block.state(PID).get() > 0
            for block in self.ledger.blocks[Ledger.FIRST_WORKER :]
        )

    def _workers(self) -> int:
        """Those that live."""
        blocks = self.ledger.blocks[Ledger.FIRST_WORKER :]
        return sum(block.state(PID).get() > 0 for block in blocks)

    def health(self) -> Health:
        """The state in full."""
        ready = self.engine_ready
        on_cuda = self.ledger.total("inferctl_engine_on_cuda") == 1
        places = self.ledger.places()
        born_s = self.ledger.blocks[Ledger.SUPERVISOR].state(BORN_S).get()
        return Health(
            status=self._status(ready),
            model_loaded=ready,
            models={
                name: self._model(model, ready, on_cuda)
                for name, model in self.catalogue.models.items()
            },
            device=self._device(on_cuda),
            engine=self.engine,
            workers=self._workers(),
            queue_rows=sum(int(self.ledger.total("inferctl_queue_rows", p)) for p in places),
            uptime_s=round(time.monotonic() - born_s, 3),
            engine_restarts=self.engine_restarts,
            last_restart=last_restart(self.ledger),
            warnings=list(self._warnings(on_cuda)),
        )

    def _status(self, ready: bool) -> Literal["ok", "degraded", "starting", "draining"]:
        if self.draining:
            return "draining"
        if ready:
            return "ok"
        return "degraded" if self.is_loaded() else "starting"

    def _model(self, model: ServedModel, ready: bool, on_cuda: bool) -> ModelHealth:
        return ModelHealth(
            version=model.manifest.version,
            versions=sorted(self.catalogue.roster.models[model.name].places),
            task=model.manifest.task,
            state="ready" if ready else "loading",
            device="cuda" if on_cuda else "cpu",
            queue_rows=int(self.ledger.total("inferctl_queue_rows", model.place)),
            max_batch_rows=int(self.ledger.total("inferctl_max_batch_rows", model.place)),
        )

    def _device(self, on_cuda: bool) -> DeviceHealth | None:
        if not on_cuda:
            return None
        limit = max((runtime.memory_limit_bytes for runtime in self._runtimes()), default=0)
        gpu = own_gpu(self.ledger.board.read(time.monotonic()))
        return DeviceHealth(
            name=gpu.name if gpu else "cuda:0",
            memory_used_bytes=gpu and gpu.memory_used_bytes,
            memory_total_bytes=gpu and gpu.memory_total_bytes,
            memory_limit_bytes=limit or None,
        )

    def _warnings(self, on_cuda: bool) -> Iterator[str]:
        return chain(
            cautions.of_versions(self.catalogue),
            cautions.of_device(self.catalogue, on_cuda=on_cuda) if self.is_loaded() else (),
            map(str, of_openness(self.server, is_keyed=self.is_keyed())),
            cautions.of_memory(self.ledger, self.catalogue),
            cautions.of_the_past(self.ledger),
            cautions.of_debugging(),
        )

    def _runtimes(self) -> list[RuntimeSettings]:
        return [model.settings.runtime for model in self.catalogue.models.values()]


def own_gpu(gpus: Sequence[Gpu]) -> Gpu | None:
    """The one that the engine is on; a driver may not tell, and there may be only one."""
    own = [gpu for gpu in gpus if gpu.is_own] or gpus
    return own[0] if len(own) == 1 else None
