"""What a child process is told at birth.

The engine hears it as the first message on its control socket; a worker, a fork, has it.
"""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict

from inferctl.bundles.manifest import Manifest
from inferctl.deferral import JobsSettings
from inferctl.keys import Scope
from inferctl.observation import LogsSettings, MetricsSettings
from inferctl.settings import ModelSettings, ServerSettings


class ModelSpec(BaseModel):
    """One version to serve: its place, its bundle, its settings and the descriptor of its arena.

    The manifest is told, not read again: an export over a bundle that is being served must not
    change what a process that is replaced takes its slots for. `warnings` are for the operator.
    """

    model_config = ConfigDict(frozen=True)

    place: int
    manifest: Manifest
    bundle: str
    slots: int
    arena_fd: int
    settings: ModelSettings
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name


class ServedVersions(BaseModel):
    """The versions of one model that requests may ask for.

    `places` are theirs by version. `labels` are further names of versions. `default` is the version
    that answers when a request names none.
    """

    model_config = ConfigDict(frozen=True)

    places: dict[int, int]
    default: int
    labels: dict[str, int] = {}

    def without(self, versions: Collection[int]) -> ServedVersions | None:
        """Those that are left, of which the newest answers if the default is not; None if none."""
        places = {v: place for v, place in self.places.items() if v not in versions}
        if not places:
            return None
        return ServedVersions(
            places=places,
            default=self.default if self.default in places else max(places),
            labels={label: v for label, v in self.labels.items() if v in places},
        )


class Roster(BaseModel):
    """What is served, by name. `default` is the model that answers /predict, if one does.

    `problems` says which versions should be served and are not, and why.
    """

    model_config = ConfigDict(frozen=True)

    models: dict[str, ServedVersions] = {}
    default: str | None = None
    problems: dict[str, str] = {}

    def places(self) -> set[int]:
        """The places of all versions that are served."""
        return {place for model in self.models.values() for place in model.places.values()}


class KeySpec(BaseModel):
    """An API key: its name, the SHA-256 of it, and the number of its cells in the ledger."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str
    cell: int
    scopes: tuple[Scope, ...]
    requests_per_s: float = 0
    max_concurrent: int = 0


class ProcessSpec(BaseModel):
    """What every child knows: the versions in memory, the number of workers, the ledger."""

    model_config = ConfigDict(frozen=True)

    models: tuple[ModelSpec, ...]
    workers: int
    ledger_fd: int
    process: int


class EngineSpec(ProcessSpec):
    """`is_successor` is whether one that served died, and `deadline_s` what a usual request waits.

    A successor leaves out what it cannot load. A version that is loaded while others serve must
    answer within the deadline. `reads_gpus` is whether it tells of the machine's GPUs.
    """

    is_successor: bool
    deadline_s: float
    reads_gpus: bool = False


class WorkerSpec(ProcessSpec):
    """A worker also listens, answers and logs. `index` is its number among the workers.

    `keys` are those of now; `server` has those of the start.
    """

    roster: Roster
    keys: tuple[KeySpec, ...] = ()
    index: int
    listen_fd: int
    server: ServerSettings
    logs: LogsSettings
    metrics: MetricsSettings = MetricsSettings()
    jobs: JobsSettings = JobsSettings()
