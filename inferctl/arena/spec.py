"""What a child process is told at birth.

The engine hears it as the first message on its control socket; a worker, a fork, has it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from inferctl.bundles.manifest import Manifest
from inferctl.settings import LogsSettings, ModelSettings, ServerSettings


class ModelSpec(BaseModel):
    """One model to serve: its bundle, its settings and the descriptor of its arena.

    The manifest is told, not read again: an export over a bundle that is being served must not
    change what a process that is replaced takes its slots for.
    """

    model_config = ConfigDict(frozen=True)

    manifest: Manifest
    bundle: str
    slots: int
    arena_fd: int
    settings: ModelSettings

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name


class ProcessSpec(BaseModel):
    """What every child knows: the models, the number of workers, the ledger."""

    model_config = ConfigDict(frozen=True)

    models: tuple[ModelSpec, ...]
    workers: int
    ledger_fd: int
    process: int


class EngineSpec(ProcessSpec):
    """The engine needs nothing more."""


class WorkerSpec(ProcessSpec):
    """A worker also listens, answers and logs. `index` is its place among the workers."""

    index: int
    listen_fd: int
    server: ServerSettings
    logs: LogsSettings
