"""The routes that requests are counted by; what no model counts is counted by one of these."""

from __future__ import annotations

# Of a request that is for a model's prediction, in whichever dialect.
PREDICT = "predict"
# Of one that no route takes.
UNMATCHED = "unmatched"
# Of those that take jobs in; what is done of one is counted by the model, and logged by it.
JOBS = "/jobs"
# The files of a page count as the page.
PAGE, DOCS = "/", "/docs"

ROUTES = (
    PREDICT, UNMATCHED, PAGE, DOCS, "/openapi.json",
    "/livez", "/readyz", "/health", "/metrics", "/models", "/models/{name}",
    JOBS, "/jobs/{id}", "/jobs/{id}/result",
    "/v1/models", "/v1/models/{name}", "/v1/models/{name}/versions/{version}",
    "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/stats",
    "/v2/models/{name}", "/v2/models/{name}/config", "/v2/models/{name}/ready",
    "/v2/models/{name}/stats", "/v2/models/{name}/versions/{version}",
    "/v2/models/{name}/versions/{version}/config", "/v2/models/{name}/versions/{version}/ready",
    "/v2/models/{name}/versions/{version}/stats", "/v2/repository/index",
    "/v2/repository/models/{name}/load", "/v2/repository/models/{name}/unload",
)  # fmt: skip


def route_of(template: str) -> str:
    """The route of a path's template, "" where there is none."""
    if template in ROUTES:
        return template
    folder, _, file = template.rpartition("/")
    page = folder or PAGE
    return page if "." in file and page in (PAGE, DOCS) else UNMATCHED
