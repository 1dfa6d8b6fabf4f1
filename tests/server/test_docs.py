"""The page for people, from files of the package alone."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from inferctl.server.docs import ASSETS
from tests.tasks.tinybundles import detector

from .asgi import get
from .wiring import working


async def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        page = await get(worker.app, "/docs")
        text = page.body.decode() + (await get(worker.app, "/docs/start.js")).body.decode()
        assert page.status == 200
        assert page.headers["content-type"].startswith("text/html")
        assert "//" not in text
        links = re.findall(r"""(?:src|href|url)\s*[=:]\s*['"]([^'"]+)""", text)
        local = [link for link in links if not link.startswith("data:")]
        assert {"/openapi.json", *(f"/docs/{name}" for name in ASSETS)} == set(local)
        for link in local:
            assert (await get(worker.app, link)).status == 200


async def test_the_assets_are_those_of_the_package(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        for name, media_type in ASSETS.items():
            answer = await get(worker.app, f"/docs/{name}")
            assert answer.headers["content-type"].split(";")[0] == media_type
            assert answer.body == files("inferctl.ui").joinpath("swagger", name).read_bytes()


async def test_the_page_is_not_part_of_the_api(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        paths = (await get(worker.app, "/openapi.json")).json["paths"]
    assert not [path for path in paths if path.startswith("/docs")]
