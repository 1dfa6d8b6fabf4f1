"""Every route but the hot ones: state, metrics, models, documentation.

It is made before there are workers, once for all of them: what it says of a worker it takes from
the request's scope.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from inferctl import __version__
from inferctl.errors import InferctlError
from inferctl.refusals import MethodNotAllowed, NotFound
from inferctl.server.call import BUG
from inferctl.server.catalogue import Catalogue
from inferctl.server.dialects.plain import problem_of
from inferctl.server.docs import add_docs
from inferctl.server.documentation import Documentation
from inferctl.server.health import Health, State
from inferctl.server.jobs.parts import JobsParts
from inferctl.server.jobs.routes import allowed_by_path, job_routes
from inferctl.server.metrics import Exposition
from inferctl.server.offer import ModelDescription
from inferctl.server.openapi import PROBLEM
from inferctl.server.page import add_page
from inferctl.server.probes import probe_routes
from inferctl.server.repository import Repository, repository_routes
from inferctl.server.response import response_of
from inferctl.server.text import CONTENT_TYPE, OPEN_METRICS_CONTENT_TYPE, OPEN_METRICS_TYPE
from inferctl.server.v1 import v1_routes
from inferctl.server.v2 import v2_routes
from inferctl.settings import ServerSettings

TEXT = {"schema": {"type": "string"}}


class Models(BaseModel):
    """`GET /models`."""

    models: list[ModelDescription]


class Voice(NamedTuple):
    """What a worker has to say of itself, and of the service. `jobs` may be off."""

    state: State
    exposition: Exposition
    catalogue: Catalogue
    documentation: Documentation
    repository: Repository
    jobs: JobsParts | None = None


def build_rest(server: ServerSettings, *, takes_jobs: bool = False) -> FastAPI:
    """FastAPI with every route but the hot ones.

    Its requests need `call` and `voice` in their scope's state, and `jobs` if it takes any.
    """
    rest = FastAPI(
        title="inferctl",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # to a place that whoever asks chooses, by Host
    )
    rest.include_router(probe_routes())
    _add_state_routes(rest)
    _add_model_routes(rest)
    if takes_jobs:
        rest.include_router(jobs := job_routes())
        rest.state.allowed = allowed_by_path(jobs)
    rest.include_router(v1_routes())
    rest.include_router(v2_routes())
    rest.include_router(repository_routes(admin=server.admin))
    for kind in (HTTPException, InferctlError, Exception):
        rest.add_exception_handler(kind, _answer_problem)
    if server.serves_page:
        add_page(rest, docs=server.serves_docs, keyed=bool(server.api_keys))
    if server.serves_docs:
        add_docs(rest)
        _add_document_route(rest)
    return rest


def _voice(request: Request) -> Voice:
    voice: Voice = request.scope["state"]["voice"]
    return voice


def _add_state_routes(rest: FastAPI) -> None:
    @rest.get("/health", tags=["state"], summary="the state in full")
    async def health(request: Request) -> Health:
        return _voice(request).state.health()

    @rest.get(
        "/metrics",
        tags=["state"],
        summary="the whole service's numbers",
        response_class=Response,
        responses={200: {"content": {"text/plain": TEXT, OPEN_METRICS_TYPE: TEXT}}},
    )
    async def metrics(request: Request) -> Response:
        open_metrics = OPEN_METRICS_TYPE in request.headers.get("accept", "")
        content = _voice(request).exposition.render(open_metrics=open_metrics)
        content_type = OPEN_METRICS_CONTENT_TYPE if open_metrics else CONTENT_TYPE
        return Response(content, headers={"content-type": content_type})


def _add_document_route(rest: FastAPI) -> None:
    @rest.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        return Response(_voice(request).documentation.written(), media_type="application/json")


def _add_model_routes(rest: FastAPI) -> None:
    @rest.get("/models", tags=["models"], summary="what is served")
    async def list_models(request: Request) -> Models:
        catalogue = _voice(request).catalogue
        return Models(models=list(map(catalogue.describe, catalogue.models.values())))

    @rest.get(
        "/models/{name}",
        tags=["models"],
        summary="one model",
        responses={404: {"description": "no such model or version", "content": PROBLEM}},
    )
    async def get_model(request: Request, name: str, version: str = "") -> ModelDescription:
        catalogue = _voice(request).catalogue
        return catalogue.describe(catalogue.find(name, version))


async def _answer_problem(request: Request, error: Exception) -> Response:
    return response_of(problem_of(_as_ours(error, request), request.scope["state"]["call"]))


def _as_ours(error: Exception, request: Request) -> InferctlError:
    """FastAPI has two errors of its own here: no such path, and not this method."""
    if isinstance(error, InferctlError):
        return error
    if not isinstance(error, HTTPException):
        return InferctlError(BUG)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        template = getattr(request.scope.get("route"), "path", "")
        allowed: dict[str, str] = getattr(request.app.state, "allowed", {})
        allow = allowed.get(template) or (error.headers or {}).get("Allow", "GET")
        return MethodNotAllowed("this path does not take this method", allow=allow)
    return NotFound("no such path")
