"""`/docs`: Swagger UI from files of this package, so that it works without a network."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}


def add_docs(rest: FastAPI) -> None:
    """Add the page and its two assets."""

    @rest.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="inferctl",
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="data:,",
        )

    for name, media_type in ASSETS.items():
        _add_asset(rest, name, media_type)


def _add_asset(rest: FastAPI, name: str, media_type: str) -> None:
    content = files("inferctl.ui").joinpath("swagger", name)

    @rest.get(f"/docs/{name}", include_in_schema=False)
    async def asset() -> Response:
        return Response(content.read_bytes(), media_type=media_type)
