"""`/`: the page that asks the models and shows the service's figures."""

from __future__ import annotations

from importlib.resources import files
from string import Template

from fastapi import FastAPI

from inferctl import __version__
from inferctl.server.static import STRICT, Static

ASSETS = {
    "colours.css": "text/css",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "answer.js": "text/javascript",
    "figures.js": "text/javascript",
    "picture.js": "text/javascript",
}


def add_page(rest: FastAPI, *, docs: bool, keyed: bool) -> None:
    """Add the page and its assets, read before there are workers; leads to /docs if it is there.

    Where there are keys the browser asks for one; what the page shows for a terminal needs one too.
    """
    folder = files("inferctl.ui")
    page = Template(folder.joinpath("page.html").read_text("utf-8"))
    text = page.substitute(version=__version__, docs="" if docs else "hidden", keyed=keyed)
    Static(text.encode(), "text/html", STRICT).add_to(rest, "/")
    for name, media_type in ASSETS.items():
        Static(folder.joinpath(name).read_bytes(), media_type, STRICT).add_to(rest, f"/{name}")
