"""What a measurement leaves: the JSON document, field by field.

Everything that is printed, drawn or judged is made of a `Report` alone, so that a stored one gives
the same as a new one.
"""

from __future__ import annotations

from dataclasses import dataclass

from inferctl.bench.figures import ClientFigures, ServerFigures
from inferctl.bench.measurement import Load
from inferctl.bench.plan import Inputs

SCHEMA_VERSION = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for: `inputs` were sent in turn, after `warmup_s` seconds of each load."""

    url: str
    warmup_s: float
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class Model:
    """The model that answered."""

    name: str
    version: int
    task: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the generator ran; the server too if the URL is local. `cores` may be used."""

    cores: int
    cpu: str | None
    memory_bytes: int | None
    platform: str
    python: str


@dataclass(frozen=True, slots=True)
class Service:
    """The server and how it is configured, as it says itself; null is what it does not say."""

    inferctl_version: str | None
    onnxruntime_version: str | None
    precision: str | None
    device: str | None
    device_name: str | None
    workers: int | None
    instances: int | None
    max_batch_rows: int | None
    slots: int | None
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class Moment:
    """A short stretch of a load: when it began since the load did, its answers and latencies."""

    begun_s: float
    duration_s: float
    answered: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


@dataclass(frozen=True, slots=True)
class WindowRecord:
    """A window. `latencies` are those of its good answers, as an HDR histogram in nanoseconds."""

    begun_s: float
    duration_s: float
    client: ClientFigures
    server: ServerFigures
    generator_cpu_cores: float | None
    latencies: str


@dataclass(frozen=True, slots=True)
class Goodput:
    """Good answers per second within the limit `slo`, and whether the load keeps it."""

    slo: str
    within_per_s: float
    is_kept: bool


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """A load and its windows; `client` and `server` are of those from `counted_from` on.

    `stable` says whether the last windows agreed, `client_limited` why the generator was the limit
    instead of the server. `generator_cpu_cores` is the CPU of its busiest process over time.
    `goodput` is null where there was no limit. `failure` is why nothing was measured, and the load
    has no windows; else null. `by_turns`: between its windows another server was measured.
    """

    load: Load
    client: ClientFigures
    server: ServerFigures
    generator_cpu_cores: float | None
    stable: bool
    client_limited: str | None
    interrupted: bool
    counted_from: int
    windows: list[WindowRecord]
    moments: list[Moment]
    goodput: Goodput | None = None
    failure: str | None = None
    by_turns: bool = False

    @property
    def counted(self) -> list[WindowRecord]:
        """The windows that count."""
        return self.windows[self.counted_from :]

    @property
    def duration_s(self) -> float:
        """How long these were."""
        return sum(window.duration_s for window in self.counted)

    @property
    def label(self) -> str:
        """The load in words."""
        return self.load.label

    @property
    def doubts(self) -> list[str]:
        """What stands against its figures, in sentences.

        Windows of a shape need not agree, nor short ones by turns, of which pairs are compared.
        """
        told = []
        if self.client_limited:
            told.append(
                f"the client, not the server, is the limit: {self.client_limited}; take more "
                "--processes, or another machine"
            )
        if self.failure:
            told.append(f"nothing was measured: {self.failure}")
        elif self.interrupted:
            told.append(f"interrupted after {self.duration_s:.1f} s; the figures are of these.")
        elif not self.stable and len(self.windows) > 1 and not (self.load.shape or self.by_turns):
            told.append("the windows differ by more than a tenth; measure longer.")
        if self.client.failed:
            total = self.client.answered + self.client.failed
            told.append(
                f"{self.client.failed:,} of {total:,} requests failed; throughput and latency are "
                "those of the answered ones."
            )
        return [f"{self.label}: {one}" for one in told]


@dataclass(frozen=True, slots=True)
class Report:
    """All of a measurement. The JSON has exactly these fields, nested as here.

    A field is never renamed or given another meaning without a new `schema_version`; new ones may
    be added. What is not known is null. `created_at` is UTC in ISO 8601. `commit` is that of the
    folder in which the command ran, with `+changes` if it has any. Reports of one `session` were
    measured by turns. `interrupted`: it ended early, and says what there was until then.
    """

    schema_version: int
    inferctl_version: str
    locust_version: str | None
    commit: str | None
    session: str
    created_at: str
    settings: Settings
    model: Model
    machine: Machine
    service: Service | None
    interrupted: bool
    loads: list[LoadRecord]
    notes: list[str]
