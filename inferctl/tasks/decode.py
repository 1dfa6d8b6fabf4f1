"""From an encoded image to the pixels a model takes, by fixed rules.

JPEG, PNG and WebP only. EXIF orientation is applied; transparency is laid on white; 16-bit grey is
scaled to 8 bits; an animation gives its first frame. Size is checked from the header, before any
pixel is decoded.
"""

from __future__ import annotations

import binascii
import io
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pybase64
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from inferctl.bundles.manifest import ImageInput
from inferctl.errors import RequestError, TooLarge, Unprocessable, UnsupportedMedia
from inferctl.tasks.base import Body
from inferctl.tasks.framing import SWAPS_SIDES, Size, frame, placed

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_SIDE = 16_384
# A progressive JPEG may repeat scans without end, 13 ms of CPU for every 33 bytes.
MAX_JPEG_SCANS = 64
START_OF_SCAN = b"\xff\xda"

EXIF_ORIENTATION = 0x0112
ORIENTATIONS = {
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

# Our own check knows the configured limit, and answers instead of warning.
Image.MAX_IMAGE_PIXELS = None

# What Pillow raises for damaged files; a bomb in a text or colour-profile chunk is a ValueError, a
# palette image without its palette an AssertionError.
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


def decode_base64(text: str) -> bytes:
    """Strict base64: no whitespace, no other alphabet, right padding. Raises RequestError."""
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(
            "image_b64 is not base64",
            hint="standard alphabet, padded, no line breaks, no data: URL",
        ) from None


def decode_image(
    data: Body, to: ImageInput, max_pixels: int, decode: Literal["fast", "exact"]
) -> Pixels:
    """Decode, orient and resize an image to `to.height` x `to.width`, as `to.resize` says.

    `fast` lets the JPEG decoder skip detail the resize would throw away: 1/255 off on average,
    up to 50 at an edge.
    Raises UnsupportedMedia, TooLarge (pixels), Unprocessable (damaged).
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(image, max_pixels)
            if _is_jpeg(image) and data.count(START_OF_SCAN) > MAX_JPEG_SCANS:
                raise Unprocessable("the JPEG has too many scans")
            return _decode(image, to, decode)
    except UnidentifiedImageError:
        raise UnsupportedMedia(
            "the image is not JPEG, PNG or WebP, or its header is damaged"
        ) from None
    except DAMAGED:
        raise Unprocessable("the image is damaged") from None


def _is_jpeg(image: Image.Image) -> bool:
    """A JPEG with a second picture behind it, as phones make them, calls its format MPO."""
    return isinstance(image, JpegImageFile)


def _check_size(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise TooLarge(f"the image has more than {max_pixels} pixels or {MAX_SIDE} on a side")


def _decode(image: Image.Image, to: ImageInput, decode: str) -> Pixels:
    width, height = image.size
    if not _is_jpeg(image):
        # A PNG's EXIF may lie behind its pixels: looking for it would swallow their damage.
        image.load()
    turn = _turn(image)
    framed = frame(image.size, to, turn)
    if turn in SWAPS_SIDES:
        width, height = height, width
    if decode == "fast" and _is_jpeg(image):
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


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How to make the image upright; damaged EXIF counts as none."""
    try:
        return ORIENTATIONS.get(image.getexif().get(EXIF_ORIENTATION, 1))
    except DAMAGED:
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Three channels of 8 bits."""
    if image.mode.startswith("I"):
        # convert() would clip 16-bit grey to its lowest 256 levels.
        grey = np.asarray(image).astype(np.uint32) >> 8
        return Image.fromarray(grey.astype(np.uint8), "L").convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
