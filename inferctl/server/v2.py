"""The Open Inference Protocol but for inference: health, metadata, configuration, statistics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from inferctl import __version__
from inferctl.arena.spec import ServedVersions
from inferctl.bundles.manifest import GRAPH_FILE, Tensor
from inferctl.server.catalogue import Catalogue
from inferctl.server.dialects.v2.signature import DATATYPES, free_dims
from inferctl.server.health import Live, Ready, State
from inferctl.server.offer import Offer
from inferctl.server.served import ServedModel
from inferctl.server.statistics import Statistics, statistics_of

PROBES = ("/v2/health/live", "/v2/health/ready")
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "schedule_policy",
    "statistics",
)
PLATFORM = "onnxruntime_onnx"
MODEL = "/v2/models/{name}"
VERSION = "/v2/models/{name}/versions/{version}"


class PlainError(BaseModel):
    """An error of /v1 and /v2."""

    error: str


class ModelReady(BaseModel):
    """`GET /v2/models/{name}/ready`."""

    name: str
    ready: bool


class ServerMetadata(BaseModel):
    """`GET /v2`."""

    name: str
    version: str
    extensions: tuple[str, ...]


class ModelNames(BaseModel):
    """`GET /v2/models`."""

    models: list[str]


class TensorMetadata(BaseModel):
    """An input or output; a free side is -1."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """`GET /v2/models/{name}`."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(BaseModel):
    """An input or output without its rows."""

    name: str
    data_type: str
    dims: list[int]


class DynamicBatching(BaseModel):
    """How rows become batches; priority 1 is interactive, 2 is bulk."""

    max_queue_delay_microseconds: int
    priority_levels: int = 2
    default_priority_level: int = 1


class Switch(BaseModel):
    """The response cache, which there is not."""

    enable: bool = False


class TransactionPolicy(BaseModel):
    """A request has one answer."""

    decoupled: bool = False


class ModelConfig(BaseModel):
    """`GET /v2/models/{name}/config`, as far as it means something here."""

    name: str
    platform: str = PLATFORM
    backend: str = "onnxruntime"
    default_model_filename: str = GRAPH_FILE
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]
    dynamic_batching: DynamicBatching
    response_cache: Switch = Switch()
    model_transaction_policy: TransactionPolicy = TransactionPolicy()


NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": PlainError, "description": "no such model or version"}
}


def v2_routes() -> APIRouter:
    """Every route of the protocol but `infer`, and but for the repository."""
    router = APIRouter(tags=["v2"])
    _add_server_routes(router)
    _add_model_routes(router)
    return router


def _add_server_routes(router: APIRouter) -> None:
    @router.get("/v2", summary="the server and its extensions of the protocol")
    async def v2_metadata() -> ServerMetadata:
        return ServerMetadata(name="inferctl", version=__version__, extensions=EXTENSIONS)

    @router.get(PROBES[0], summary="200 while the process answers")
    async def v2_live() -> Live:
        return Live(live=True)

    @router.get(
        PROBES[1],
        summary="200 when every model is warm",
        responses={503: {"model": Ready, "description": "loading, draining, or no engine"}},
    )
    async def v2_ready(request: Request, response: Response) -> Ready:
        return Ready(ready=_ready(request, response))

    @router.get("/v2/models", summary="the names of what is served")
    async def v2_models(request: Request) -> ModelNames:
        return ModelNames(models=list(catalogue_of(request).models))

    @router.get("/v2/models/stats", summary="the statistics of every model")
    async def v2_all_statistics(request: Request) -> Statistics:
        return _statistics(request, *catalogue_of(request).served())


def _add_model_routes(router: APIRouter) -> None:
    @router.get(MODEL, summary="a model's tensors", responses=NOT_FOUND)
    @router.get(VERSION, summary="a model's tensors", responses=NOT_FOUND)
    async def v2_model(request: Request, name: str, version: str = "") -> ModelMetadata:
        catalogue = catalogue_of(request)
        return _metadata(catalogue.find(name, version).offer, catalogue.roster.models[name])

    @router.get(f"{MODEL}/config", summary="a model's configuration", responses=NOT_FOUND)
    @router.get(f"{VERSION}/config", summary="a model's configuration", responses=NOT_FOUND)
    async def v2_config(request: Request, name: str, version: str = "") -> ModelConfig:
        return _config(catalogue_of(request).find(name, version).offer)

    @router.get(f"{MODEL}/stats", summary="a model's statistics", responses=NOT_FOUND)
    @router.get(f"{VERSION}/stats", summary="a model's statistics", responses=NOT_FOUND)
    async def v2_statistics(request: Request, name: str, version: str = "") -> Statistics:
        return _statistics(request, catalogue_of(request).find(name, version))

    unready: dict[int | str, dict[str, Any]] = {
        503: {"model": ModelReady, "description": "loading, draining, or no engine"}
    }

    @router.get(f"{MODEL}/ready", summary="200 when warm", responses=NOT_FOUND | unready)
    @router.get(f"{VERSION}/ready", summary="200 when warm", responses=NOT_FOUND | unready)
    async def v2_model_ready(
        request: Request, response: Response, name: str, version: str = ""
    ) -> ModelReady:
        model = catalogue_of(request).find(name, version)
        return ModelReady(name=model.name, ready=_ready(request, response))


def state_of(request: Request) -> State:
    """The worker's state, as it was put into the request's scope."""
    state: State = request.scope["state"]["voice"].state
    return state


def catalogue_of(request: Request) -> Catalogue:
    """What is served, as the request's scope has it."""
    return state_of(request).catalogue


def _ready(request: Request, response: Response) -> bool:
    ready = state_of(request).ready
    response.status_code = 200 if ready else 503
    return ready


def _statistics(request: Request, *models: ServedModel) -> Statistics:
    ledger = state_of(request).ledger
    return Statistics(model_stats=[statistics_of(ledger, model) for model in models])


def _metadata(offer: Offer, served: ServedVersions) -> ModelMetadata:
    manifest = offer.manifest
    return ModelMetadata(
        name=offer.name,
        versions=[str(version) for version in sorted(served.places)],
        platform=PLATFORM,
        inputs=[_tensor(tensor) for tensor in manifest.inputs],
        outputs=[_tensor(tensor) for tensor in manifest.outputs],
    )


def _tensor(tensor: Tensor) -> TensorMetadata:
    datatype = DATATYPES[tensor.dtype]
    return TensorMetadata(name=tensor.name, datatype=datatype, shape=free_dims(tensor))


def _config(offer: Offer) -> ModelConfig:
    manifest, settings = offer.manifest, offer.settings
    delay_us = int(settings.batching.max_wait_ms * 1000)
    return ModelConfig(
        name=offer.name,
        max_batch_size=settings.limits.max_rows,
        input=[_tensor_config(tensor) for tensor in manifest.inputs],
        output=[_tensor_config(tensor) for tensor in manifest.outputs],
        dynamic_batching=DynamicBatching(max_queue_delay_microseconds=delay_us),
    )


def _tensor_config(tensor: Tensor) -> TensorConfig:
    data_type = f"TYPE_{DATATYPES[tensor.dtype]}"
    return TensorConfig(name=tensor.name, data_type=data_type, dims=free_dims(tensor)[1:])
