"""What the service says about its state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple

from pydantic import BaseModel

from inferctl.arena.ledger import BEAT_S, BORN_S, MEMORY_IS_SHORT, PID, Ledger
from inferctl.arena.placed import Placed
from inferctl.cautions import of_openness
from inferctl.server import cautions
from inferctl.server.catalogue import Catalogue
from inferctl.server.devices import DeviceHealth, GpuHealth, device_health, gpus_of
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
    """One model's state. `device` is "cpu", "cuda:0" or another number, "cuda:0,1" if it is on
    several, null while it is not known. `nodes_on_cpu` are those of its graph that are not on the
    GPU with it, and `device_bytes` is what it took of the GPUs' memory to load and to warm up, null
    while that is not known."""

    version: int
    versions: list[int]
    task: str
    state: Literal["loading", "ready"]
    device: str | None
    nodes_on_cpu: list[str]
    device_bytes: int | None
    queue_rows: int
    max_batch_rows: int


class Health(BaseModel):
    """`GET /health`."""

    status: Literal["ok", "degraded", "starting", "draining"]
    model_loaded: bool
    models: dict[str, ModelHealth]
    device: DeviceHealth | None
    gpus: list[GpuHealth]
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
        places, placed = self.ledger.places(), self._placed()
        gpus = self.ledger.board.read(time.monotonic())
        limit_bytes = max((runtime.memory_limit_bytes for runtime in self._runtimes()), default=0)
        born_s = self.ledger.blocks[Ledger.SUPERVISOR].state(BORN_S).get()
        return Health(
            status=self._status(ready),
            model_loaded=ready,
            models={
                name: self._model(model, ready, placed.get(name))
                for name, model in self.catalogue.models.items()
            },
            device=device_health(gpus, list(placed.values()), limit_bytes),
            gpus=gpus_of(gpus, placed),
            engine=self.engine,
            workers=self._workers(),
            queue_rows=sum(int(self.ledger.total("inferctl_queue_rows", p)) for p in places),
            uptime_s=round(time.monotonic() - born_s, 3),
            engine_restarts=self.engine_restarts,
            last_restart=last_restart(self.ledger),
            warnings=list(self._warnings(placed)),
        )

    def _status(self, ready: bool) -> Literal["ok", "degraded", "starting", "draining"]:
        if self.draining:
            return "draining"
        if ready:
            return "ok"
        return "degraded" if self.is_loaded() else "starting"

    def _device_bytes(self, model: ServedModel, placed: Placed | None) -> int | None:
        taken_bytes = int(self.ledger.total("inferctl_model_device_bytes", model.place))
        return taken_bytes or (0 if placed and not placed.on_cuda else None)

    def _model(self, model: ServedModel, ready: bool, placed: Placed | None) -> ModelHealth:
        return ModelHealth(
            version=model.manifest.version,
            versions=sorted(self.catalogue.roster.models[model.name].places),
            task=model.manifest.task,
            state="ready" if ready else "loading",
            device=placed and placed.device,
            nodes_on_cpu=[*placed.nodes_on_cpu] if placed else [],
            device_bytes=self._device_bytes(model, placed),
            queue_rows=int(self.ledger.total("inferctl_queue_rows", model.place)),
            max_batch_rows=int(self.ledger.total("inferctl_max_batch_rows", model.place)),
        )

    def _placed(self) -> dict[str, Placed]:
        """Where each model runs, of which that is known."""
        placed = self.ledger.placed.read()
        models = self.catalogue.models.items()
        return {name: placed[model.place] for name, model in models if model.place in placed}

    def _warnings(self, placed: Mapping[str, Placed]) -> Iterator[str]:
        return chain(
            cautions.of_versions(self.catalogue),
            cautions.of_devices(placed),
            map(str, of_openness(self.server, is_keyed=self.is_keyed())),
            cautions.of_memory(self.ledger, self.catalogue),
            cautions.of_the_past(self.ledger),
            cautions.of_debugging(),
        )

    def _runtimes(self) -> list[RuntimeSettings]:
        return [model.settings.runtime for model in self.catalogue.models.values()]
