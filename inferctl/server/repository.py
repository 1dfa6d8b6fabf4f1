"""Loading and unloading over HTTP, as Triton has it; the supervisor does it, as on SIGHUP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from inferctl.errors import InferctlError, InsufficientMemory
from inferctl.refusals import Unavailable, Unsupported
from inferctl.server.health import State
from inferctl.server.served import ServedModel
from inferctl.server.v2 import PlainError, state_of

# What takes longer goes on, but its client hears no more of it.
ANSWER_TIMEOUT_S = 900.0

Message = dict[str, Any]


class Repository:
    """The worker's line to whoever changes what is served."""

    def __init__(self, tell: Callable[[Message], object]) -> None:
        self._tell = tell
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Message]] = {}

    async def ask(self, about: Literal["index", "load", "unload"], model: str = "") -> Message:
        """Have it done; the answer comes afterwards. Raises Unavailable."""
        number = next(self._numbers)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._tell({"event": "ask", "id": number, "about": about, "model": model})
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await answer
        except TimeoutError:
            raise Unavailable("it takes long, and goes on", hint="ask for the index") from None
        finally:
            del self._waiting[number]

    def hear(self, message: Message) -> None:
        """The supervisor answers."""
        answer = self._waiting.get(message["to"])
        if answer and not answer.done():
            answer.set_result(message)


class RepositoryVersion(BaseModel):
    """One version of one model, as `POST /v2/repository/index` lists it."""

    name: str
    version: str
    state: Literal["READY", "LOADING", "UNAVAILABLE"]
    reason: str


REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": PlainError, "description": "why not"},
    503: {"model": PlainError, "description": "there is not enough memory for it"},
}
OFF: dict[int | str, dict[str, Any]] = {501: {"model": PlainError, "description": "it is off"}}


def repository_routes(*, admin: bool) -> APIRouter:
    """`/v2/repository/…`. Bodies are not read: what is loaded is said by the configuration."""
    router = APIRouter(prefix="/v2/repository", tags=["v2"])
    if admin:
        _add_routes(router)
    else:
        _add_what_is_left(router)
    return router


def _add_routes(router: APIRouter) -> None:
    @router.post("/index", summary="every version that there is; no body is read")
    async def v2_repository_index(request: Request) -> list[RepositoryVersion]:
        answer = await _repository(request).ask("index")
        return [RepositoryVersion.model_validate(version) for version in answer["index"]]

    @router.post(
        "/models/{name}/load",
        summary="serve what folder and configuration say of a model now",
        response_class=Response,
        responses=REFUSED,
    )
    async def v2_repository_load(request: Request, name: str) -> Response:
        return await _change(request, "load", name)

    @router.post(
        "/models/{name}/unload",
        summary="serve a model no more, until it is loaded again",
        response_class=Response,
        responses=REFUSED,
    )
    async def v2_repository_unload(request: Request, name: str) -> Response:
        return await _change(request, "unload", name)


def _add_what_is_left(router: APIRouter) -> None:
    """Whoever may not change anything sees what is served."""

    @router.post("/index", summary="every version that is served; no body is read")
    async def v2_repository_index(request: Request) -> list[RepositoryVersion]:
        state = state_of(request)
        return [_version(model, state) for model in state.catalogue.served()]

    @router.post("/models/{name}/load", status_code=501, responses=OFF)
    @router.post("/models/{name}/unload", status_code=501, responses=OFF)
    async def v2_repository_control(name: str) -> None:
        raise Unsupported(
            "models are not loaded or unloaded over HTTP",
            hint="send SIGHUP to the service, or set server.admin",
        )


def _version(model: ServedModel, state: State) -> RepositoryVersion:
    version = RepositoryVersion(
        name=model.name, version=str(model.version), state="READY", reason=""
    )
    if state.draining:
        return version.model_copy(update={"state": "UNAVAILABLE", "reason": "draining"})
    return version if state.ready else version.model_copy(update={"state": "LOADING"})


def _repository(request: Request) -> Repository:
    repository: Repository = request.scope["state"]["voice"].repository
    return repository


async def _change(request: Request, about: Literal["load", "unload"], name: str) -> Response:
    try:
        problems = (await _repository(request).ask(about, name))["problems"]
    except InferctlError as error:
        problems = {name: str(error)}
    if not problems:
        return Response()
    said = "; ".join(f"{version}: {reason}" for version, reason in problems.items())
    is_full = any(InsufficientMemory.text in reason for reason in problems.values())
    return JSONResponse({"error": said}, 503 if is_full else 400)
