"""Names of models in paths are looked up, and never lead to a file."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.tinybundles import numbers

from .wire import serving
from .wiring import working

NAMES = (
    "..", ".", "a/b", "../../etc/passwd", "%2e%2e", "%2e%2e%2f%2e%2e", "a%2Fb", "%00", "a%00b",
    "sums%00", "x" * 300, "s%C3%BCms", "CON", "nul", "%20", "sums%20", "SUMS", "%", "%zz",
)  # fmt: skip
GETS = ("/models/{}", "/v2/models/{}", "/v2/models/{}/config", "/v2/models/{}/versions/1/stats")
POSTS = ("/models/{}/predict", "/v2/models/{}/infer", "/v1/models/{}:predict")

FILES = ((builtins, "open"), (io, "open"), (os, "open"), (os, "listdir"), (os, "scandir"))


@contextmanager
def files_that_are_opened() -> Iterator[list[tuple[Any, ...]]]:
    """What Python opens or lists meanwhile."""
    opened: list[tuple[Any, ...]] = []

    def noting(what: Callable[..., Any]) -> Callable[..., Any]:
        def note(*arguments: Any, **options: Any) -> Any:
            # FastAPI reads the source of a route once, to name it in its own errors.
            if not str(arguments[0]).endswith(".py"):
                opened.append((what.__name__, *arguments))
            return what(*arguments, **options)

        return note

    with pytest.MonkeyPatch.context() as patch:
        for module, name in FILES:
            patch.setattr(module, name, noting(getattr(module, name)))
        yield opened


@pytest.mark.row(114)
async def test_a_name_that_is_none_is_not_found_and_no_file_is_opened(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker, serving(worker) as service:
        asked = [("GET", path) for path in GETS] + [("POST", path) for path in POSTS]
        for name in NAMES:
            for method, path in asked:
                client = await service.connect()
                with files_that_are_opened() as files:
                    answer = await client.ask(
                        f"{method} {path.format(name)} HTTP/1.1\r\nHost: localhost\r\n"
                        "Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}".encode()
                    )
                assert answer.status in (400, 404, 405), (path, name)
                assert files == []
                assert len(answer.body) <= 512
                assert not any(
                    part in answer.body for part in (b"etc", b"xxx", str(tmp_path).encode())
                )
                await client.leave()


def test_files_that_are_opened_are_seen(tmp_path: Path) -> None:
    with files_that_are_opened() as files:
        (tmp_path / "file").touch()
        list(tmp_path.iterdir())
    assert [event for event, *_ in files] == ["open", "listdir"]
