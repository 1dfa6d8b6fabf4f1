"""The page at `/`: files of the package, which let nothing else in."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from inferctl import __version__
from inferctl.server.page import ASSETS
from inferctl.settings import ServerSettings
from tests.tasks.tinybundles import detector

from .asgi import get
from .wiring import working

UI = files("inferctl.ui")


async def test_the_page_needs_its_own_files_alone(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        page = await get(worker.app, "/")
        linked = re.findall(r"""(?:src|href)="([^"#]+)""", page.body.decode())
        own = {f"/{link}" for link in linked if not link.startswith("data:")}
        assert {"/page.css", "/page.js"} < own
        for path in own:
            assert (await get(worker.app, path)).status == 200
        for name, media_type in ASSETS.items():
            answer = await get(worker.app, f"/{name}")
            assert answer.body == UI.joinpath(name).read_bytes()
            assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
            for link in re.findall(r"""from "\./([^"]+)""", answer.body.decode()):
                assert link in ASSETS
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_nothing_of_it_comes_from_elsewhere() -> None:
    for name in ("page.html", *ASSETS):
        text = UI.joinpath(name).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "//" not in re.sub(r"(?m)(^|\s)//.*$", "", text), name


@pytest.mark.parametrize("path", ["/", "/page.js", "/docs"])
async def test_a_browser_lets_nothing_else_in(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, detector()) as worker:
        headers = (await get(worker.app, path)).headers
    policy = dict(part.split(maxsplit=1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/page.css", "/docs/swagger-ui-bundle.js"])
async def test_what_a_browser_has_is_not_sent_again(tmp_path: Path, path: str) -> None:
    async with working(tmp_path, detector()) as worker:
        first = await get(worker.app, path)
        etag = first.headers["etag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await get(worker.app, path, headers={"If-None-Match": known})
            assert (again.status, again.body) == (304, b"")
            assert again.headers["etag"] == etag
        other = await get(worker.app, path, headers={"If-None-Match": '"other"'})
        assert (other.status, other.body) == (200, first.body)


async def test_the_page_tells_the_version_and_leads_to_the_documentation(tmp_path: Path) -> None:
    for docs, link in ((True, '<a href="docs" >'), (False, '<a href="docs" hidden>')):
        async with working(tmp_path, detector(), server=ServerSettings(docs=docs)) as worker:
            text = (await get(worker.app, "/")).body.decode()
        assert link in text
        assert f">{__version__}<" in text


async def test_without_ui_there_is_no_page(tmp_path: Path) -> None:
    async with working(tmp_path, detector(), server=ServerSettings(ui=False)) as worker:
        for path in ("/", *(f"/{name}" for name in ASSETS)):
            assert (await get(worker.app, path)).status == 404
        assert (await get(worker.app, "/docs")).status == 200


async def test_the_page_is_not_part_of_the_api(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        paths = (await get(worker.app, "/openapi.json")).json["paths"]
    assert not {"/", *(f"/{name}" for name in ASSETS)} & paths.keys()
