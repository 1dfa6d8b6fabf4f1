"""Every setting, its default and its limits.

Each part of the program receives its own frozen section, never the whole tree. Where the values
come from is `sources.py`.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, TypeVar

from pydantic import BeforeValidator, Field

from inferctl.deferral import JobsSettings
from inferctl.device import Device
from inferctl.keys import MAX_KEYS, KeyName, KeySettings
from inferctl.observation import LogsSettings, MetricsSettings
from inferctl.section import Section, parts

KIB, MIB = 1024, 1024 * 1024


class ServerSettings(Section):
    """Where the service listens, for whom, and what it takes in."""

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65_535, description="port; 0 takes a free one")
    share_port: bool = Field(
        default=False,
        description="join a service that has the port, once the models are warm, to replace it",
    )
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        default="auto", description='HTTP processes; "auto" is one per core'
    )
    request_timeout_ms: int = Field(
        default=5000, ge=1, le=600_000, description="deadline of a request that names none"
    )
    max_request_timeout_ms: int = Field(
        default=60_000, ge=1, le=600_000, description="longest deadline that a request may name"
    )
    max_body_bytes: int = Field(
        default=14 * MIB, ge=1024, le=1024 * MIB, description="largest request body"
    )
    max_waiting_body_bytes: int = Field(
        default=4 * MIB,
        ge=1024,
        le=64 * 1024 * MIB,
        description="bodies in memory that wait to be decoded; more are left with their clients",
    )
    memory_limit_bytes: int = Field(
        default=0,
        ge=0,
        description="memory of all processes; near it large bodies get 429. 0: the container's",
    )
    keep_alive_s: int = Field(
        default=75, ge=1, le=3600, description="idle keep-alive; outlasts the usual proxies"
    )
    drain_delay_s: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="how long a stop goes on serving after /readyz says 503, for balancers to see",
    )
    max_connections: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="open connections of all workers; those that wait longest make room for more",
    )
    first_byte_timeout_s: float = Field(
        default=5.0, ge=0.001, le=3600, description="how long a new connection may say nothing"
    )
    header_timeout_s: float = Field(
        default=5.0, ge=0.001, le=3600, description="how long a request's headers may take to come"
    )
    body_timeout_s: float = Field(
        default=10.0,
        ge=0.001,
        le=3600,
        description="how long a body may take to come, besides what min_body_bytes_per_s allow",
    )
    min_body_bytes_per_s: int = Field(
        default=64 * KIB, ge=1, description="every so many bytes of a body give it another second"
    )
    max_body_timeout_s: float = Field(
        default=60.0, ge=0.001, le=3600, description="how long a body may take to come, at most"
    )
    write_timeout_s: float = Field(
        default=10.0,
        ge=0.001,
        le=3600,
        description="how long a client may read nothing; for all of its answer it has 6 times that",
    )
    max_request_line_bytes: int = Field(
        default=8 * KIB, ge=256, le=MIB, description="longest request line; more get 414"
    )
    max_header_bytes: int = Field(
        default=8 * KIB, ge=256, le=MIB, description="longest header; more get 431"
    )
    max_head_bytes: int = Field(
        default=32 * KIB, ge=256, le=MIB, description="all headers together; more get 431"
    )
    max_headers: int = Field(default=100, ge=4, le=10_000, description="headers; more get 431")
    max_framing_bytes: int = Field(
        default=64 * KIB,
        ge=1024,
        le=1024 * MIB,
        description="what a chunked body may take on the wire besides max_body_bytes",
    )
    drain_timeout_s: float = Field(
        default=30.0, ge=0, le=3600, description="how long a stop waits for requests in flight"
    )
    docs: Literal["auto"] | bool = Field(
        default="auto", description='serve /docs and /openapi.json; "auto" does on loopback'
    )
    ui: Literal["auto"] | bool = Field(
        default="auto", description='serve the page at /; "auto" does on loopback'
    )
    admin: bool = Field(
        default=False, description="load and unload models over HTTP; takes a key of scope admin"
    )
    api_keys: dict[KeyName, KeySettings] = Field(
        default={},
        max_length=MAX_KEYS,
        description="who may ask; without keys whoever reaches the port may",
    )
    insecure: bool = Field(
        default=False, description="listen beyond loopback though there are no keys"
    )
    allowed_hosts: Annotated[tuple[str, ...], BeforeValidator(parts)] = Field(
        default=(), description="names that Host and Origin may have; on loopback also its own"
    )
    tls_cert: str = Field(default="", description="PEM file: the certificate and its chain")
    tls_key: str = Field(default="", description="PEM file: the certificate's private key")

    @property
    def is_public(self) -> bool:
        """Whether others than this machine's processes may reach it; a name is taken to say so."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def serves_docs(self) -> bool:
        """Whether there is /docs."""
        return not self.is_public if self.docs == "auto" else self.docs

    @property
    def serves_page(self) -> bool:
        """Whether there is a page at /."""
        return not self.is_public if self.ui == "auto" else self.ui


class BatchingSettings(Section):
    """How rows become batches."""

    max_batch_rows: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] = Field(
        default="auto", description='largest batch; "auto" is the knee of the measured cost curve'
    )
    max_wait_ms: float = Field(
        default=0.0, ge=0, le=10_000, description="how long a partial batch may be held"
    )
    max_padding: float = Field(
        default=0.25, ge=0, le=1, description="share of a batch that may be padding; 1: first come"
    )


class LimitsSettings(Section):
    """What bounds memory: requests in work, rows waiting, sizes of inputs."""

    max_concurrent: int = Field(
        default=64,
        ge=1,
        le=65_536,
        description="requests per worker and model between decode and answer (a semaphore)",
    )
    max_queue_rows: int = Field(
        default=1024, ge=1, le=65_536, description="rows per model in the service; more get 429"
    )
    memory_bytes: int = Field(
        default=256 * MIB,
        ge=MIB,
        le=1024 * 1024 * MIB,
        description="bodies and rows of a model in memory; more get 429",
    )
    max_pixels: int = Field(
        default=25_000_000, ge=1, le=1_000_000_000, description="largest image, width x height"
    )
    max_image_bytes: int = Field(
        default=10 * MIB, ge=1024, le=1024 * MIB, description="largest image as it is encoded"
    )
    max_text_chars: int = Field(
        default=8192, ge=1, le=1_000_000, description="longest text, in code points"
    )
    max_rows: int = Field(default=256, ge=1, le=65_536, description="rows in one request")


class RuntimeSettings(Section):
    """What the engine runs on."""

    device: Device = Field(
        default="auto",
        description='"cuda" fails without a GPU, or "cuda:1" without two; "cuda:0,1" has both, '
        '"cuda:all" every one; "auto" falls back to the CPU',
    )
    instances: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        default="auto",
        description='runner threads per model; "auto" fills the cores (2 on each GPU)',
    )
    intra_op_threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        default="auto", description='threads inside one run; "auto" is 1 (latency: every core)'
    )
    profile: Literal["throughput", "latency"] = Field(
        default="throughput", description="many runs side by side, or each run as fast as it goes"
    )
    memory_limit_bytes: int = Field(
        default=0, ge=0, description="device memory a session may hold; 0 is no limit (CUDA)"
    )
    cuda_graphs: bool = Field(
        default=True,
        description="launch a whole run at once where the model allows it (CUDA, cuda-bindings)",
    )
    tf32: bool = Field(
        default=False,
        description="float32 by tensor cores, in 10 bits (CUDA); one model without it rules it out "
        "in the engine",
    )
    tensorrt: bool = Field(
        default=False,
        description="run by TensorRT, whose engine takes minutes to build once (CUDA); without it "
        '"cuda" fails, "auto" falls back to CUDA',
    )
    tensorrt_cache: str = Field(
        default="tensorrt", min_length=1, description="folder in which TensorRT's engines are kept"
    )
    max_run_ms: Literal["auto"] | Annotated[int, Field(ge=10, le=600_000)] = Field(
        default="auto",
        description='a run that takes longer is ended; "auto" is ten times what is expected, '
        "between 2 s and 10 s",
    )
    decode: Literal["fast", "exact"] = Field(
        default="fast",
        description='"fast" lets the JPEG decoder shrink first (1/255 off on average)',
    )


# No number, which is a version itself.
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Version = Annotated[int, Field(ge=1)]


class ModelSettings(Section):
    """One model's own settings; what is not set here comes from the global sections."""

    default: bool = Field(default=False, description="answers /predict without a model name")
    versions: Annotated[
        Literal["latest"] | Annotated[tuple[Version, ...], Field(min_length=1)],
        BeforeValidator(parts),
    ] = Field(default="latest", description='versions to serve; "latest" is the newest one')
    labels: dict[Label, Version] = Field(
        default={}, description="names for versions, which are served too; stable answers"
    )
    batching: BatchingSettings = BatchingSettings()
    limits: LimitsSettings = LimitsSettings()
    runtime: RuntimeSettings = RuntimeSettings()


class Settings(Section):
    """The whole tree; made by `load_settings`."""

    models_dir: str = Field(default="models", min_length=1, description="bundle or models folder")
    server: ServerSettings = ServerSettings()
    batching: BatchingSettings = BatchingSettings()
    limits: LimitsSettings = LimitsSettings()
    runtime: RuntimeSettings = RuntimeSettings()
    models: dict[str, ModelSettings] = Field(default={})
    logs: LogsSettings = LogsSettings()
    metrics: MetricsSettings = MetricsSettings()
    jobs: JobsSettings = JobsSettings()

    def for_model(self, name: str) -> ModelSettings:
        """The model's own sections laid over the global ones, key by key."""
        own = self.models.get(name, ModelSettings())
        return ModelSettings(
            default=own.default,
            versions=own.versions,
            labels=own.labels,
            batching=_laid_over(self.batching, own.batching),
            limits=_laid_over(self.limits, own.limits),
            runtime=_laid_over(self.runtime, own.runtime),
        )


AnySection = TypeVar("AnySection", bound=Section)


def _laid_over(base: AnySection, own: AnySection) -> AnySection:
    """`base` with the keys that were set in `own`."""
    return base.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})
