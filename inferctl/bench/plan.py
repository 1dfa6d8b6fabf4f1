"""What to send, to whom and for how long; the request bodies are made before the run."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from inferctl.bench.synthetic import SENTENCES, pictures
from inferctl.errors import UsageError

T = TypeVar("T")

IMAGE_TASKS = ("image-detection", "image-classification")
TEXT_TASK = "text-classification"
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))

# The generator holds all bodies in memory; more would measure its memory, not the server.
MAX_BODIES = 256
MAX_BYTES = 256 * 2**20

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


@dataclass(frozen=True, slots=True)
class Plan:
    """One measurement. `model` None means the only one served, `data` None means made-up inputs."""

    url: str
    model: str | None
    users: int
    duration_s: float
    warmup_s: float
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """The bodies that are sent in turn: `count` of the `available` ones, `mean_bytes` each."""

    source: str
    count: int
    available: int
    mean_bytes: float


def parse_duration(text: str) -> float:
    """Read `10s`, `1m30s`, `2h`, `2.5s` or bare seconds. Returns seconds; raises UsageError."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise UsageError(f"{text!r} is no duration", hint="write 10s, 1m30s or 2h")
    hours, minutes, seconds = match.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def check_data(data: Path | None) -> None:
    """Raise UsageError when `data` does not exist, before anything is started for it."""
    if data is not None and not data.exists():
        raise UsageError(
            "no such folder of images or file of texts", where=str(data), hint="check --data"
        )


def write_bodies(task: str, example: dict[str, Any], data: Path | None, file: Path) -> Inputs:
    """Write JSON bodies for a model of `task` to `file`, one per line. Raises UsageError.

    Tasks other than image and text ones get `example`, the server's own, and take no `data`.
    """
    source = "made up" if data is None else str(data)
    bodies: Iterable[dict[str, Any]]
    if task in IMAGE_TASKS:
        images = None if data is None else _find_images(data)
        available = len(pictures()) if images is None else len(images)
        bodies = _image_bodies(pictures() if images is None else _read(_spread(images)))
    elif task == TEXT_TASK:
        texts = SENTENCES if data is None else _read_lines(data)
        available = len(texts)
        bodies = ({"text": text} for text in _spread(texts))
    elif data is None:
        source, available, bodies = "the server's example", 1, (example,)
    else:
        raise UsageError(f"--data does not fit the task {task}", hint="leave it out")
    count, total_bytes = _write(bodies, file)
    return Inputs(source, count, available, total_bytes / count)


def _image_bodies(images: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for image in images:
        yield {"image_b64": base64.b64encode(image).decode("ascii")}


def _find_images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError("an image model needs a folder of images", where=str(folder))
    images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not images:
        raise UsageError("no .jpg, .png or .webp in this folder", where=str(folder))
    return images


def _read(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        try:
            yield path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read an image: {error.strerror}", where=str(path)) from None


def _read_lines(path: Path) -> list[str]:
    if path.is_dir():
        raise UsageError("a text model needs a file with one text per line", where=str(path))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the texts: {error}", where=str(path)) from None
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise UsageError("no text in this file", where=str(path))
    return texts


def _spread(items: Sequence[T]) -> Sequence[T]:
    """At most MAX_BODIES of them, evenly spaced: a sorted folder begins with one class."""
    return items[:: -(-len(items) // MAX_BODIES)]


def _write(bodies: Iterable[dict[str, Any]], file: Path) -> tuple[int, int]:
    """The number of bodies and of bytes written; at least one body."""
    count = total_bytes = 0
    with file.open("wb") as lines:
        for body in bodies:
            line = orjson.dumps(body)
            lines.write(line + b"\n")
            count += 1
            total_bytes += len(line)
            if total_bytes >= MAX_BYTES:
                break
    return count, total_bytes
