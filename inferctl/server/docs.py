"""`/docs`: Swagger UI from files of this package, so that it works without a network."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI

from inferctl.server.static import SWAGGER, Static

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
}


def add_docs(rest: FastAPI) -> None:
    """Add the page and its assets."""
    folder = files("inferctl.ui").joinpath("swagger")
    page = folder.joinpath("index.html").read_bytes()
    Static(page, "text/html", SWAGGER).add_to(rest, "/docs")
    for name, media_type in ASSETS.items():
        content = folder.joinpath(name).read_bytes()
        Static(content, media_type, SWAGGER).add_to(rest, f"/docs/{name}")
