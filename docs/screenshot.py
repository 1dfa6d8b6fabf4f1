"""Makes docs/img/top.svg: `python -m docs.screenshot`, where `inferctl demo` has left its models.

A real service answers real requests meanwhile.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from rich.console import Console

from inferctl.client import AsyncClient, Client
from inferctl.demo.samples import NEGATIVE, POSITIVE
from inferctl.demo.scenes import scene_series
from inferctl.top.reading import read
from inferctl.top.view import Screen

PICTURE = Path(__file__).parent / "img" / "top.svg"
COLUMNS = 112
LOOKS = 20
# As it is shown, whatever the port is.
SHOWN_URL = "http://box:8000"
# Those of other people's servers.
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


@contextmanager
def _service() -> Iterator[str]:
    command = [sys.executable, "-m", "inferctl", "serve", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield next(
                found[1] for line in process.stderr if (found := re.search(r"url=(\S+)", line))
            )
        finally:
            process.terminate()


def _ask(url: str, over: threading.Event) -> None:
    """Pictures and texts, the latter in waves."""
    images = [scene.image for scene in scene_series(1, 8)]
    with Client(url) as client:
        for wave in range(10**6):
            if over.is_set():
                return
            list(client.predict_many(images[: 1 + wave % 8], model="shapes"))
            texts = [POSITIVE, NEGATIVE] * (32 * (1 + wave % 5))
            list(client.predict_many(texts, model="sentiment"))


async def _look(url: str) -> Screen:
    screen = Screen(SHOWN_URL, "  every 1 s, q quits")
    async with AsyncClient(url) as client:
        for _ in range(LOOKS):
            screen.take(await read(client))
            await asyncio.sleep(1)
    return screen


def main() -> None:
    """Write the picture."""
    over = threading.Event()
    with _service() as url:
        clients = [threading.Thread(target=_ask, args=(url, over)) for _ in range(2)]
        for client in clients:
            client.start()
        try:
            screen = asyncio.run(_look(url))
        finally:
            over.set()
            for client in clients:
                client.join()
    console = Console(record=True, width=COLUMNS, force_terminal=True, file=StringIO())
    console.print(screen)
    picture = FONTS.sub("", console.export_svg(title="inferctl top"))
    PICTURE.write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
