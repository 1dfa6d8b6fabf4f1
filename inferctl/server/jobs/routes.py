"""`/jobs`: taken in at once, done later, asked about until somebody fetched the result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, cast

import orjson
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from starlette.routing import Route

from inferctl.arena.metric import OUTCOMES
from inferctl.arena.routes import JOBS
from inferctl.errors import InferctlError
from inferctl.jobs.job import OPEN, STATES, Job, Result, State
from inferctl.jobs.store import Store
from inferctl.refusals import Conflict, Unprocessable
from inferctl.server.asgi import CutShort
from inferctl.server.call import PROBLEM_JSON, Call, Reply, as_headers
from inferctl.server.jobs import document
from inferctl.server.jobs.asked import LINES, refuse_several_keys
from inferctl.server.jobs.submissions import Submissions, owner_of
from inferctl.server.jobs.told import (
    FIRST_PAGE,
    OK_STATUS,
    etag_of,
    line_of,
    list_of,
    next_page,
    poll_advice,
    poll_after_s,
    status_of,
)
from inferctl.server.response import response_of
from inferctl.tasks.base import JSON

JobId = Annotated[str, Path(alias="id", description="of the job", json_schema_extra=document.ID)]


def job_routes() -> APIRouter:
    """All of them. Their requests need `jobs`, the worker's Submissions, in their scope's state."""
    router = APIRouter(tags=["jobs"])
    _add_list(router)
    _add_job(router)
    _add_result(router)
    return router


def allowed_by_path(router: APIRouter) -> dict[str, str]:
    """The methods that each path takes: Starlette names those of the first of its routes alone."""
    methods = defaultdict[str, set[str]](set)
    for route in router.routes:
        if isinstance(route, Route):
            methods[route.path] |= route.methods or set()
    return {path: ", ".join(sorted(taken)) for path, taken in methods.items()}


def _add_list(router: APIRouter) -> None:
    @router.post(JOBS, status_code=202, response_class=Response, **document.SUBMIT)
    async def submit_job(request: Request) -> Response:
        refuse_several_keys(request.headers.raw)
        fault = request.scope["state"]["fault"]
        return response_of(await _jobs(request).take(_call(request), request.receive, fault))

    @router.get(JOBS, response_class=Response, **document.LIST)
    async def list_jobs(request: Request) -> Response:
        query, owner = _call(request).query(), _owner(request)
        limit = _whole_number(query, "limit", document.USUAL_LIMIT, 1, document.MAX_LIMIT)
        states, after = _states(query.get("state")), query.get("after", "")
        # It is written there too, where a thousand hold nobody up.
        told = await _jobs(request).desk.do(
            lambda store: list_of(store.page(owner, states, limit, after))
        )
        return Response(told, media_type=JSON)


def _add_job(router: APIRouter) -> None:
    @router.get("/jobs/{id}", response_class=Response, **document.SHOW)
    async def get_job(request: Request, job_id: JobId) -> Response:
        owner = _owner(request)
        job = await _jobs(request).desk.do(lambda store: store.find(job_id, owner))
        known = request.headers.get("if-none-match", "").split(",")
        if any(tag.strip().removeprefix("W/") in (etag_of(job), "*") for tag in known):
            return Response(status_code=304, headers=_headers(job))
        return _told(job)

    @router.delete("/jobs/{id}", response_class=Response, **document.CANCEL)
    async def cancel_job(request: Request, job_id: JobId) -> Response:
        owner, jobs = _owner(request), _jobs(request)

        def cancel(store: Store) -> tuple[Job, Job]:
            return store.find(job_id, owner), store.cancel(job_id, owner)

        before, after = await jobs.desk.do(cancel)
        if before.state != after.state:
            jobs.cancelled.add()
        return _told(after)


def _add_result(router: APIRouter) -> None:
    @router.get("/jobs/{id}/result", response_class=Response, **document.RESULT)
    async def get_job_result(request: Request, job_id: JobId) -> Response:
        owner, jobs = _owner(request), _jobs(request)
        first = _whole_number(_call(request).query(), "first", 0, 0, document.MAX_FIRST)

        def read(store: Store) -> tuple[Job, list[Result]]:
            job = store.find(job_id, owner)
            return job, store.results(job_id, owner, first if job.is_bulk else 0, FIRST_PAGE)

        job, results = await jobs.desk.do(read)
        if not job.is_bulk:
            return _only_result(job, results, _call(request))
        headers = {"x-job-state": job.state}
        lines = _lines(jobs, job_id, owner, results)
        return StreamingResponse(lines, media_type=LINES, headers=headers)


async def _lines(
    jobs: Submissions, job_id: str, owner: str, results: list[Result]
) -> AsyncIterator[bytes]:
    """From these on, a page at a time: the next one is read when this one was sent."""
    asked, largest_bytes = FIRST_PAGE, 0
    while results:
        lines = [*map(line_of, results)]
        yield b"".join(lines)
        if len(results) < asked:
            return
        largest_bytes = max(largest_bytes, *map(len, lines))
        first, asked = results[-1].number + 1, next_page(asked, largest_bytes)
        try:
            results = await _page(jobs, job_id, owner, first, asked)
        except InferctlError as error:
            raise CutShort from error


async def _page(jobs: Submissions, job_id: str, owner: str, first: int, limit: int) -> list[Result]:
    return await jobs.desk.do(lambda store: store.results(job_id, owner, first, limit))


def _only_result(job: Job, results: list[Result], call: Call) -> Response:
    """What a predict request would have been answered."""
    if job.state in OPEN:
        raise Conflict("the job is not done yet", retry_after_s=poll_after_s(job))
    if job.state == "cancelled":
        raise Conflict("the job was cancelled, and has no result")
    headers = {"x-job-state": job.state}
    if results and results[0].status == OK_STATUS:
        return Response(results[0].body, media_type=JSON, headers=headers)
    problem = job.problem or (orjson.loads(results[0].body) if results else {})
    if problem.get("code") in OUTCOMES:
        call.outcome = problem["code"]
    reply = Reply(problem.get("status", 500), orjson.dumps(problem), content_type=PROBLEM_JSON)
    response = response_of(reply)
    response.headers.update(headers)
    return response


def _told(job: Job) -> Response:
    return Response(status_of(job).written(), media_type=JSON, headers=_headers(job))


def _headers(job: Job) -> dict[str, str]:
    advice = {name.decode(): value.decode() for name, value in as_headers(poll_advice(job))}
    return {"etag": etag_of(job), "cache-control": "private, no-cache", **advice}


def _call(request: Request) -> Call:
    call: Call = request.scope["state"]["call"]
    return call


def _owner(request: Request) -> str:
    return owner_of(_call(request))


def _jobs(request: Request) -> Submissions:
    jobs: Submissions = request.scope["state"]["jobs"]
    return jobs


def _whole_number(query: Mapping[str, str], name: str, usual: int, least: int, most: int) -> int:
    """A parameter of the query. Raises Unprocessable."""
    given = query.get(name)
    if given is None:
        return usual
    is_number = given.isascii() and given.isdigit() and len(given) <= len(str(most))
    if not is_number or not least <= int(given) <= most:
        raise Unprocessable(f"{name}: should be a whole number from {least} to {most}")
    return int(given)


def _states(given: str | None) -> list[State]:
    """Of the query, with commas between them, each once. Raises Unprocessable."""
    if given is None:
        return [*STATES]
    named = dict.fromkeys(given.split(","))
    if not named.keys() <= set(STATES):
        raise Unprocessable(f"state: should be some of {', '.join(STATES)}")
    return cast("list[State]", [*named])
