"""What is to be predicted: files, folders and lines become inputs with names, in a fixed order."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from inferctl.errors import UsageError

IMAGE_TASKS = ("image-detection", "image-classification")
TEXT_TASK = "text-classification"
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp"))
STDIN = "-"


class Named(NamedTuple):
    """An image's path or a text, and what its line of the results is called."""

    name: str
    x: Path | str


class Inputs:
    """The inputs of `arguments` for a model of `task`, as often as they are iterated over.

    Images are files, folders of them, or lines of standard input that name files; texts are the
    lines of files or of standard input.
    """

    def __init__(self, arguments: Sequence[str], task: str) -> None:
        """Find them. Raises UsageError for what is not there or does not fit the task.

        What cannot be read raises it too, some of it only in `total` or when it is its turn.
        """
        self._takes_images = task in IMAGE_TASKS
        if not self._takes_images and task != TEXT_TASK:
            raise UsageError(
                f"images and texts can be predicted, and its task is {task}",
                hint="ask with inferctl.client, which sends arrays",
            )
        find = _images if self._takes_images else _texts
        self._files = [path for argument in arguments for path in find(argument)]

    def total(self) -> int | None:
        """How many there are; None where only the end will tell."""
        known = [path for path in self._files if path is not None]
        if len(known) < len(self._files):
            return None
        return len(known) if self._takes_images else sum(map(_count_lines, known))

    def __iter__(self) -> Iterator[Named]:
        for path in self._files:
            if path is None:
                yield from self._lines(STDIN, sys.stdin)
            elif self._takes_images:
                yield Named(str(path), path)
            else:
                # Bytes that are not UTF-8 spoil their own line alone.
                with (
                    _readable(path),
                    path.open(encoding="utf-8", errors="surrogateescape") as lines,
                ):
                    yield from self._lines(str(path), lines)

    def _lines(self, name: str, lines: Iterable[str]) -> Iterator[Named]:
        for number, line in enumerate(lines, 1):
            if not (text := line.strip()):
                continue
            if self._takes_images:
                yield Named(text, Path(text))
            else:
                yield Named(f"{name}:{number}", text)


def _images(argument: str) -> Iterator[Path | None]:
    if argument == STDIN:
        yield None
        return
    path = _existing(argument)
    if path.is_file():
        if path.suffix.lower() == ".txt":
            raise UsageError("the model takes images, not texts", where=argument)
        yield path
        return
    images = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not images:
        raise UsageError("no .jpg, .png or .webp in this folder", where=argument)
    yield from images


def _texts(argument: str) -> Iterator[Path | None]:
    if argument == STDIN:
        yield None
        return
    path = _existing(argument)
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        raise UsageError(
            "the model takes texts", where=argument, hint="name a file with a text on each line"
        )
    yield path


def _existing(argument: str) -> Path:
    path = Path(argument)
    with _readable(path):
        if not path.exists():
            raise UsageError("no such file or folder", where=argument)
    return path


def _count_lines(path: Path) -> int:
    """Lines that are not empty."""
    with _readable(path), path.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raises UsageError where the system refuses it: no permission, or a name that is too long."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from None
