"""What the service says about its state."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from inferctl.arena.ledger import BEAT_S, PID, Ledger
from inferctl.server.catalogue import Catalogue
from inferctl.server.link import EngineLink
from inferctl.server.served import ServedModel
from inferctl.settings import RuntimeSettings

# An event loop that is away longer makes the service not ready.
BLOCKED_S = 5.0


class Live(BaseModel):
    """`GET /livez` and `/v2/health/live`."""

    live: bool


class Ready(BaseModel):
    """`GET /readyz` and `/v2/health/ready`."""

    ready: bool


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
    uptime_s: float
    engine_restarts: int
    warnings: list[str]


@dataclass(slots=True)
class State:
    """The worker's view of the service."""

    ledger: Ledger
    link: EngineLink
    catalogue: Catalogue
    started_s: float
    _was_loaded: bool = False

    @property
    def engine_ready(self) -> bool:
        """Whether an engine is there with every model warm."""
        return self._says_ready and self.link.attached

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
        return self.engine_ready and not self.draining and not self._is_blocked()

    def _is_blocked(self) -> bool:
        """Whether a worker's event loop is: who comes to that one is not answered."""
        long_ago_s = time.monotonic() - BLOCKED_S
        return any(
            0.0 < block.state(BEAT_S).get() < long_ago_s and block.state(PID).get()
            for block in self.ledger.blocks[Ledger.FIRST_WORKER :]
        )

    def health(self) -> Health:
        """The state in full."""
        ready = self.engine_ready
        on_cuda = self.ledger.total("inferctl_engine_on_cuda") == 1
        return Health(
            status=self._status(ready),
            model_loaded=ready,
            models={
                name: self._model(model, ready, on_cuda)
                for name, model in self.catalogue.models.items()
            },
            device=self._device(on_cuda),
            uptime_s=round(time.monotonic() - self.started_s, 3),
            engine_restarts=self.engine_restarts,
            warnings=self._warnings(on_cuda),
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
        return DeviceHealth(
            name="cuda:0",
            memory_used_bytes=None,
            memory_total_bytes=None,
            memory_limit_bytes=limit or None,
        )

    def _warnings(self, on_cuda: bool) -> list[str]:
        warnings = [
            f"{version} is not served: {reason}"
            for version, reason in self.catalogue.roster.problems.items()
        ]
        for model in self.catalogue.models.values():
            warnings += [f"{model.name}: {warning}" for warning in model.offer.warnings]
        asked_auto = any(runtime.device == "auto" for runtime in self._runtimes())
        if asked_auto and not on_cuda and self.is_loaded():
            warnings.append("no CUDA device: the models run on the CPU")
        return warnings

    def _runtimes(self) -> list[RuntimeSettings]:
        return [model.settings.runtime for model in self.catalogue.models.values()]
