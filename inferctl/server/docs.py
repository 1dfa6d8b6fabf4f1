"""`/docs`: Swagger UI from files of this package, so that it works without a network."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI, Request, Response

from inferctl.server.static import SWAGGER, Static

FOLDER = files("inferctl.ui").joinpath("swagger")
ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
}


def add_docs(rest: FastAPI) -> None:
    """Add the page and its assets."""
    page = FOLDER.joinpath("index.html").read_bytes()
    Static(page, "text/html", SWAGGER).add_to(rest, "/docs")
    for name, media_type in ASSETS.items():
        _add_asset(rest, name, media_type)


def _add_asset(rest: FastAPI, name: str, media_type: str) -> None:
    content = FOLDER.joinpath(name)

    @rest.get(f"/docs/{name}", include_in_schema=False)
    async def asset(request: Request) -> Response:
        # Two megabytes that few ask for: no worker holds them.
        return Static(content.read_bytes(), media_type, SWAGGER).answer(request)
