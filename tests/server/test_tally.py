"""Every request is counted once: by its model, or by its route."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from inferctl.arena.routes import DOCS, PAGE, ROUTES, UNMATCHED, route_of
from inferctl.server.metrics import REQUESTS
from inferctl.server.rest import build_rest
from inferctl.server.tally import outcome_of
from inferctl.settings import ServerSettings
from tests.tasks.tinybundles import detector

from .asgi import ask, get, post_json
from .wiring import Worker, working


def counts(worker: Worker) -> dict[str, float]:
    """What no model counted."""
    counted = {value: worker.ledger.total(REQUESTS.name, value=value) for value in REQUESTS.values}
    return {value: count for value, count in counted.items() if count}


def templates() -> Iterator[str]:
    rest = build_rest(ServerSettings(admin=True), takes_jobs=True)
    yield from rest.openapi()["paths"]
    yield from (route.path for route in rest.routes if isinstance(route, APIRoute))


def test_every_route_has_a_name_of_its_own_but_files_that_of_their_page() -> None:
    named = {template: route_of(template) for template in templates()}

    assert set(named.values()) <= set(ROUTES) - {UNMATCHED}
    of_files = {template for template, name in named.items() if name != template}
    assert {named[template] for template in of_files} == {PAGE, DOCS}
    assert all("." in template for template in of_files)


@pytest.mark.parametrize("template", ["", "/nowhere", "/models/{name}/x", "/docs/x/y"])
def test_what_no_route_takes_is_unmatched(template: str) -> None:
    assert route_of(template) == UNMATCHED


async def test_what_no_model_is_asked_for_is_counted_by_its_route(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        await get(worker.app, "/models/shapes")
        await get(worker.app, "/models/none")
        await get(worker.app, "/page.css")
        await get(worker.app, "/nowhere")
        await get(worker.app, "/predict")
        await post_json(worker.app, {}, "/models/none/predict")
        await post_json(worker.app, {})  # its model counts it
        await ask(worker.app, "/metrics", b"x")
        worker.service_ends()
        await get(worker.app, "/readyz")
        assert counts(worker) == {
            "/models/{name} ok": 1,
            "/models/{name} not_found": 1,
            "/ ok": 1,
            "unmatched not_found": 1,
            "predict method_not_allowed": 1,
            "predict not_found": 1,
            "/metrics method_not_allowed": 1,
            "/readyz unavailable": 1,
        }


@pytest.mark.parametrize(
    ("status", "said", "outcome"),
    [
        (200, "internal_error", "ok"),
        (304, "internal_error", "ok"),
        (400, "internal_error", "malformed"),
        (503, "internal_error", "unavailable"),
        (500, "internal_error", "internal_error"),
        (404, "not_found", "not_found"),
    ],
)
def test_an_answer_without_a_problem_of_ours_has_the_outcome_of_its_status(
    status: int, said: str, outcome: str
) -> None:
    assert outcome_of(status, said) == outcome
