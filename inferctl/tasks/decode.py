"""From an encoded image to the pixels a model takes, by fixed rules.

JPEG, PNG and WebP only, told apart by their first bytes. EXIF orientation is applied; transparency
is laid on white; 16-bit grey is scaled to 8 bits; an animation is refused. Size, scans and chunks
are checked before any pixel is decoded.
"""

from __future__ import annotations

import binascii
import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pybase64
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from inferctl.bundles.manifest import ImageInput
from inferctl.refusals import RequestError, TooLarge, Unprocessable, UnsupportedMedia
from inferctl.tasks import jpeg, png, webp
from inferctl.tasks.base import Body
from inferctl.tasks.container import Container, check_size, damaged
from inferctl.tasks.framing import SWAPS_SIDES, Size, frame, placed

# An image of as many pixels as are allowed takes 20 to 30 ms of CPU for each.
MAX_SCANS_OF_MOST_PIXELS = 32

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# Longer than any name of a way to fetch something.
MAX_SCHEME_CHARS = 16

# Our own check knows the configured limit, and answers instead of warning.
Image.MAX_IMAGE_PIXELS = None

# What Pillow raises for damaged files; a palette image without its palette is an AssertionError.
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, AssertionError, struct.error,
    MemoryError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pixels:
    """A decoded image: `array` uint8 [height, width, 3] as the model takes it; the size as sent."""

    array: npt.NDArray[np.uint8]
    sent_width: int
    sent_height: int


class Format(NamedTuple):
    """How a kind of file is looked at, and what decodes it.

    `Image.open` would import the 40 other formats that Pillow knows.
    """

    read: Callable[[Body], Container]
    decoder: type[ImageFile]


JPEG = Format(jpeg.read_jpeg, JpegImageFile)
PNG = Format(png.read_png, PngImageFile)
WEBP = Format(webp.read_webp, WebPImageFile)


def decode_base64(text: str, max_bytes: int) -> bytes:
    """Strict base64: no whitespace, no other alphabet, right padding.

    Raises TooLarge before it decodes more than `max_bytes`, RequestError for what is none, and
    Unprocessable for a URL.
    """
    if len(text) > -(-max_bytes // 3) * 4:
        raise too_many_bytes(max_bytes)
    try:
        data = pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        if "://" in text[:MAX_SCHEME_CHARS]:
            raise Unprocessable("image_b64 is a URL", hint="send the image itself") from None
        data = b""
    if not data:
        raise RequestError(
            "image_b64 is not base64",
            hint="standard alphabet, padded, no line breaks, no data: URL",
        )
    return data


def too_many_bytes(max_bytes: int) -> TooLarge:
    """What is said of an image that is too large as a file."""
    return TooLarge(
        f"the image has more than {max_bytes} bytes",
        hint="send a smaller one, or raise limits.max_image_bytes",
    )


def decode_image(
    data: Body, to: ImageInput, max_pixels: int, decode: Literal["fast", "exact"]
) -> Pixels:
    """Decode, orient and resize an image to `to.height` x `to.width`, as `to.resize` says.

    `fast` lets the JPEG decoder skip detail the resize would throw away: 1/255 off on average,
    up to 50 at an edge.
    Raises UnsupportedMedia, TooLarge (pixels), Unprocessable (damaged, or hostile).
    """
    found = _format(data)
    try:
        container = found.read(data)
        _check(container, max_pixels)
        with found.decoder(io.BytesIO(container.data)) as image:
            if image.size != (container.width, container.height):
                raise damaged()
            return _decode(image, container.orientation, to, decode)
    except DAMAGED:
        raise damaged() from None


def _format(data: Body) -> Format:
    """Which one it is, by its first bytes. Raises UnsupportedMedia."""
    if data.startswith(jpeg.SIGNATURE):
        return JPEG
    if data.startswith(png.SIGNATURE):
        return PNG
    if data.startswith(webp.RIFF) and data[8:12] == webp.WEBP:
        return WEBP
    raise UnsupportedMedia("the image is not JPEG, PNG or WebP")


def _check(container: Container, max_pixels: int) -> None:
    width, height, scans = container.width, container.height, container.scans
    check_size(width, height, max_pixels)
    if scans * width * height > MAX_SCANS_OF_MOST_PIXELS * max_pixels:
        raise Unprocessable("the JPEG has too many scans")


def _decode(image: ImageFile, orientation: int, to: ImageInput, decode: str) -> Pixels:
    width, height = image.size
    turn = TURNS.get(orientation)
    framed = frame(image.size, to, turn)
    if turn in SWAPS_SIDES:
        width, height = height, width
    if decode == "fast":
        image.draft("RGB", framed.whole)
    whole = _to_rgb(image)
    rgb = whole.resize(framed.target, RESAMPLING[to.resample], framed.box(whole.size))
    # Turning the small image is cheaper than turning the large one.
    upright = rgb if turn is None else rgb.transpose(turn)
    if to.pad is not None:
        upright = _letterboxed(upright, placed((width, height), to).corner, to, to.pad)
    return Pixels(np.asarray(upright), width, height)


def _letterboxed(image: Image.Image, corner: Size, to: ImageInput, pad: int) -> Image.Image:
    row = Image.new("RGB", (to.width, to.height), (pad, pad, pad))
    row.paste(image, corner)
    return row


def _to_rgb(image: Image.Image) -> Image.Image:
    """Three channels of 8 bits."""
    if image.mode.startswith("I"):
        # convert() would clip 16-bit grey to its lowest 256 levels.
        grey = np.asarray(image) >> 8
        return Image.fromarray(grey.astype(np.uint8), "L").convert("RGB")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")  # it would be copied
