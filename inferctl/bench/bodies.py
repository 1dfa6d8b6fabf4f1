"""The bodies that are sent, made before the load: inputs of every kind in every dialect."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray

from inferctl.bench.plan import Dialect, Inputs, Source
from inferctl.bench.synthetic import SENTENCES, pictures, texts
from inferctl.bench.target import Target, Tensor, metadata
from inferctl.errors import UsageError

T = TypeVar("T")

IMAGE_TASKS = ("image-detection", "image-classification")
TEXT_TASK = "text-classification"
MEDIA_TYPES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp",
}  # fmt: skip
MADE_UP_TYPE = "image/jpeg"
JSON = "application/json"
BINARY = "application/octet-stream"

# The generator holds all bodies in memory; more would measure its memory, not the server.
MAX_BODIES = 256
MAX_BYTES = 256 * 2**20

# Of tensors that are made up: so many, and so long where a graph takes any length.
TENSORS, ANY_LENGTH = 16, 16
NUMPY_TYPES = {
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BOOL": np.bool_,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
}  # fmt: skip


class Message(NamedTuple):
    """A body, and what is said of it; `json_bytes` of it are JSON if tensors follow."""

    media_type: str
    body: bytes
    json_bytes: int | None = None

    def encoded(self) -> bytes:
        """As LOADTEST_BODIES has it: headers, an empty line, the body."""
        headers = f"Content-Type: {self.media_type}\r\n"
        if self.json_bytes is not None:
            headers += f"Inference-Header-Content-Length: {self.json_bytes}\r\n"
        return headers.encode("ascii") + b"\r\n" + self.body


class Samples(NamedTuple):
    """Inputs as messages, made as they are asked for, of so many that there are."""

    source: str
    available: int
    messages: Iterable[Message]


def path_of(target: Target, dialect: Dialect) -> str:
    """The path that takes a dialect."""
    return f"{target.v2_path}/infer" if dialect in ("v2", "v2-json") else target.path


def write_bodies(target: Target, source: Source, folder: Path) -> Inputs:
    """Write the bodies to a new folder, a `.http` each. Raises UsageError for what does not fit.

    Tasks other than image and text ones get the server's own example, or random tensors in v2.
    """
    found = _samples(target, source)
    folder.mkdir()
    count = total_bytes = 0
    for message in found.messages:
        (folder / f"{count:05}.http").write_bytes(message.encoded())
        count += 1
        total_bytes += len(message.body)
        if total_bytes >= MAX_BYTES:
            break
    return Inputs(
        found.source, count, found.available, total_bytes / count, source.dialect,
        path_of(target, source.dialect),
    )  # fmt: skip


def _samples(target: Target, source: Source) -> Samples:
    task, made_up = target.model.task, "made up" if source.data is None else str(source.data)
    _check_fit(task, source)
    if task in IMAGE_TASKS:
        images = (
            [(MADE_UP_TYPE, one) for one in pictures(*source.size_pixels or ())]
            if source.data is None
            else _find_images(source.data)
        )
        kept = _spread(images)
        return Samples(made_up, len(images), (_image(one, source.dialect) for one in kept))
    if task == TEXT_TASK:
        lines = (
            (texts(source.words) if source.words else SENTENCES)
            if source.data is None
            else _read_lines(source.data)
        )
        return Samples(made_up, len(lines), (_text(one, source.dialect) for one in _spread(lines)))
    if source.dialect == "native":
        example = Message(JSON, orjson.dumps(target.model.example))
        return Samples("the server's example", 1, (example,))
    return Samples(made_up, TENSORS, _tensors(metadata(target).inputs, source.dialect))


def _check_fit(task: str, source: Source) -> None:
    of_tensors = task not in (*IMAGE_TASKS, TEXT_TASK)
    for option, given, fits in (
        ("--data", source.data, not of_tensors),
        ("--size", source.size_pixels, task in IMAGE_TASKS and source.data is None),
        ("--words", source.words, task == TEXT_TASK and source.data is None),
    ):
        if given is not None and not fits:
            made = "made-up inputs of " if option != "--data" and source.data is None else ""
            what = f"{made}the task {task}" if source.data is None or of_tensors else "--data"
            raise UsageError(f"{option} does not fit {what}", hint="leave it out")
    if source.dialect == "raw" and of_tensors:
        raise UsageError(f"a {task} has no raw body", hint="take --dialect v2")


def _image(image: tuple[str, bytes | Path], dialect: Dialect) -> Message:
    media_type, content = image
    encoded = content if isinstance(content, bytes) else _read(content)
    if dialect == "raw":
        return Message(media_type, encoded)
    if dialect == "v2":
        return _binary([("image", "BYTES", [1], _bytes_element(encoded))])
    text = base64.b64encode(encoded).decode("ascii")
    if dialect == "v2-json":
        return _v2_json([{"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}])
    return Message(JSON, orjson.dumps({"image_b64": text}))


def _text(text: str, dialect: Dialect) -> Message:
    if dialect == "raw":
        return Message("text/plain; charset=utf-8", text.encode())
    if dialect == "v2":
        return _binary([("text", "BYTES", [1], _bytes_element(text.encode()))])
    if dialect == "v2-json":
        return _v2_json([{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}])
    return Message(JSON, orjson.dumps({"text": text}))


def _tensors(inputs: Sequence[Tensor], dialect: Dialect) -> Iterator[Message]:
    """One row of every input, random, the same ones every time. Raises UsageError for strings."""
    random = np.random.default_rng(0)
    for _ in range(TENSORS):
        made = [(one, _random(one, random)) for one in inputs]
        if dialect == "v2":
            yield _binary([(one.name, one.datatype, [*a.shape], a.tobytes()) for one, a in made])
        else:
            yield _v2_json(
                [
                    {
                        "name": one.name, "shape": [*array.shape],
                        "datatype": one.datatype, "data": array.ravel().tolist(),
                    }
                    for one, array in made
                ]
            )  # fmt: skip


def _random(tensor: Tensor, random: np.random.Generator) -> NDArray[Any]:
    kind = NUMPY_TYPES.get(tensor.datatype)
    if kind is None:
        raise UsageError(
            f"no {tensor.datatype} can be made up for {tensor.name!r}", hint="take --dialect native"
        )
    first, *others = tensor.shape
    shape = [1 if first < 0 else first, *(ANY_LENGTH if side < 0 else side for side in others)]
    if np.issubdtype(kind, np.floating):
        return random.standard_normal(shape).astype(kind)
    return random.integers(0, 2, shape).astype(kind)


def _binary(tensors: Sequence[tuple[str, str, list[int], bytes]]) -> Message:
    head = orjson.dumps(
        {
            "inputs": [
                {
                    "name": name, "shape": shape, "datatype": datatype,
                    "parameters": {"binary_data_size": len(data)},
                }
                for name, datatype, shape, data in tensors
            ],
            "parameters": {"binary_data_output": True},
        }
    )  # fmt: skip
    return Message(BINARY, head + b"".join(data for *_, data in tensors), len(head))


def _v2_json(inputs: list[dict[str, Any]]) -> Message:
    return Message(JSON, orjson.dumps({"inputs": inputs}))


def _bytes_element(data: bytes) -> bytes:
    """An element of BYTES: its length in four bytes before it."""
    return len(data).to_bytes(4, "little") + data


def _find_images(folder: Path) -> list[tuple[str, bytes | Path]]:
    if not folder.is_dir():
        raise UsageError("an image model needs a folder of images", where=str(folder))
    found: list[tuple[str, bytes | Path]] = [
        (MEDIA_TYPES[path.suffix.lower()], path)
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in MEDIA_TYPES
    ]
    if not found:
        raise UsageError("no .jpg, .png or .webp in this folder", where=str(folder))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read an image: {error.strerror}", where=str(path)) from None


def _read_lines(path: Path) -> list[str]:
    if path.is_dir():
        raise UsageError("a text model needs a file with one text per line", where=str(path))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the texts: {error}", where=str(path)) from None
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise UsageError("no text in this file", where=str(path))
    return found


def _spread(items: Sequence[T]) -> Sequence[T]:
    """At most MAX_BODIES of them, evenly spaced: a sorted folder begins with one class."""
    return items[:: math.ceil(len(items) / MAX_BODIES)]
