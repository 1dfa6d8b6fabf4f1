"""What can be predicted, by its type alone, and how it is sent.

A `str` is a text. A `pathlib.Path` is an image file, and `bytes` are an encoded image: both are
sent as they are. A PIL image and a uint8 array [height, width, 3] are sent as PNG, which loses
nothing. Any other array is the tensor of a model with one input, and a mapping holds the tensors by
name.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import orjson
from PIL import Image

from inferctl.client.errors import InvalidInput

if TYPE_CHECKING:
    import numpy.typing as npt

Picture: TypeAlias = "Path | bytes | Image.Image"
Input: TypeAlias = "str | Picture | npt.NDArray[Any] | Mapping[str, Any]"

JSON = "application/json"
PNG = "image/png"
# What Pillow writes into a PNG as it is.
PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
# The quickest that is still a third of the pixels' size for a photo.
PNG_COMPRESSION = 1
CHANNELS = IMAGE_AXES = 3


class Content(NamedTuple):
    """A request's body."""

    body: bytes
    content_type: str


def is_picture(x: Input) -> bool:
    """Whether it goes out as a raw image; all else is JSON."""
    return isinstance(x, bytes | Path | Image.Image) or _is_rgb(x)


def picture(x: Input) -> Content:
    """The encoded image. Reads a file, or compresses pixels. Raises InvalidInput."""
    if isinstance(x, Path):
        x = _read(x)
    if not isinstance(x, bytes):
        return Content(_png(x), PNG)
    # The server looks for itself; a file of another format is its to refuse.
    if x.startswith(b"\x89PNG"):
        return Content(x, PNG)
    return Content(x, "image/webp" if x[8:12] == b"WEBP" else "image/jpeg")


def document(x: Input, options: Mapping[str, Any]) -> bytes:
    """A text or tensors as the JSON of a request. Raises InvalidInput."""
    if isinstance(x, str):
        content: dict[str, Any] = {"text": x}
    elif isinstance(x, Mapping) or _is_array(x):
        content = {"inputs": x}
    else:
        raise InvalidInput(
            f"an input of type {type(x).__name__} cannot be sent",
            hint="pass a str, a pathlib.Path, bytes, a PIL image, an array or a dict of arrays",
        )
    try:
        return orjson.dumps(
            {**content, **options}, default=_as_list, option=orjson.OPT_SERIALIZE_NUMPY
        )
    except TypeError as error:
        raise InvalidInput(f"the input cannot be written as JSON: {error}") from None


def line(x: Input, options: Mapping[str, Any]) -> bytes:
    """Any input as the JSON of a request, for bodies that hold many. An image grows by a third.

    Raises InvalidInput.
    """
    if not is_picture(x):
        return document(x, options)
    return orjson.dumps({"image_b64": b64encode(picture(x).body).decode(), **options})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:  # a name that no file can have
        raise InvalidInput(f"cannot read {str(path)!r}: {error}") from None


def _png(x: Any) -> bytes:
    stream = io.BytesIO()
    try:
        image = x if isinstance(x, Image.Image) else Image.fromarray(x)
        whole = image if image.mode in PNG_MODES else image.convert("RGB")
        whole.save(stream, PNG.removeprefix("image/"), compress_level=PNG_COMPRESSION)
    except (OSError, ValueError, SystemError) as error:
        raise InvalidInput(f"the image cannot be encoded: {error}") from None
    return stream.getvalue()


def _is_array(x: object) -> bool:
    """Whether it is numpy's, without importing that."""
    return hasattr(x, "__array_interface__") and hasattr(x, "dtype")


def _is_rgb(x: Any) -> bool:
    return (
        _is_array(x) and str(x.dtype) == "uint8" and x.ndim == IMAGE_AXES and x.shape[2] == CHANNELS
    )


def _as_list(x: Any) -> Any:
    """What orjson does not write by itself: an array that is no plain block of memory."""
    if _is_array(x):
        return x.tolist()
    raise TypeError(f"no place for a {type(x).__name__}")
