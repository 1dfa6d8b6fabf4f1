"""A model's status as TensorFlow Serving and KServe ask for it: one answer with both forms."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from inferctl.server.v2 import ModelNames, PlainError, catalogue_of, state_of


class Status(BaseModel):
    """TensorFlow Serving's word for no error."""

    error_code: str = "OK"
    error_message: str = ""


class VersionStatus(BaseModel):
    """A version's state."""

    version: str
    state: Literal["AVAILABLE", "LOADING"]
    status: Status = Status()


class ModelStatus(BaseModel):
    """`GET /v1/models/{name}`: two fields of KServe's, and one of TensorFlow Serving's."""

    name: str
    ready: bool
    model_version_status: list[VersionStatus]


def v1_routes() -> APIRouter:
    """Every route of the protocol but `:predict`."""
    router = APIRouter(tags=["v1"])

    @router.get("/v1/models", summary="the names of what is served")
    async def v1_models(request: Request) -> ModelNames:
        return ModelNames(models=list(catalogue_of(request).models))

    for path in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
        _add_status_route(router, path)
    return router


def _add_status_route(router: APIRouter, path: str) -> None:
    @router.get(
        path,
        summary="200 when a model is warm",
        responses={
            404: {"model": PlainError, "description": "no such model or version"},
            503: {"model": ModelStatus, "description": "loading, draining, or no engine"},
        },
    )
    async def v1_status(
        request: Request, response: Response, name: str, version: str = ""
    ) -> ModelStatus:
        model = catalogue_of(request).find(name, version)
        ready = state_of(request).ready
        response.status_code = 200 if ready else 503
        state = VersionStatus(version=str(model.version), state="AVAILABLE" if ready else "LOADING")
        return ModelStatus(name=model.name, ready=ready, model_version_status=[state])
