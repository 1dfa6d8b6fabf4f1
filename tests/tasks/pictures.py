"""Encoded images, and PNGs written by hand that no encoder would write."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP")
START_OF_SCAN, END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(colour: str = "red", size: tuple[int, int] = (20, 10), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def gradient(width: int = 60, height: int = 40) -> Pixels:
    """Every corner differs from the others."""
    across = np.linspace(0, 255, width)[None, :].repeat(height, 0)
    down = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    return np.stack([across, down, 255 - across], axis=2).astype(np.uint8)


def photo(width: int = 800, height: int = 600) -> Image.Image:
    """Smooth, with detail that shrinking loses."""
    detail = np.random.default_rng(5).integers(-20, 20, (height, width, 3))
    return Image.fromarray((gradient(width, height) + detail).clip(0, 255).astype(np.uint8))


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


def png(width: int, height: int, depth: int, colour: int, idat: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")
    )


def one_bit_bomb(side: int) -> bytes:
    """A valid black square in a few kilobytes."""
    row = b"\0" + b"\0" * (-(-side // 8))
    return png(side, side, 1, 0, zlib.compress(row * side, 9))


def with_extra_scans(jpeg: bytes, count: int) -> bytes:
    """The last scan of the first picture, again and again."""
    end = jpeg.index(END_OF_IMAGE)
    last = jpeg[jpeg.rindex(START_OF_SCAN, 0, end) : end]
    return jpeg[:end] + last * count + jpeg[end:]


def two_pictures(**options: Any) -> bytes:
    """A JPEG with a second one behind it, as phones make them."""
    first = Image.fromarray(gradient())
    return encoded(first, "MPO", save_all=True, append_images=[plain("blue")], **options)


def cmyk(*inks: int, **options: Any) -> bytes:
    """One colour in four inks of 0 to 255; the file holds them inverted, as Adobe's do."""
    return encoded(Image.new("CMYK", (64, 64), inks), "JPEG", quality=100, **options)


def ycck(*inks: int, **options: Any) -> bytes:
    """The same with three of the inks as luminance and colour."""
    *colours, black = inks
    light = Image.new("RGB", (1, 1), tuple(colours)).convert("YCbCr").getpixel((0, 0))
    assert isinstance(light, tuple)
    jpeg = cmyk(*(255 - int(part) for part in light), black, **options)
    transform = jpeg.index(b"Adobe") + len("Adobe") + 6
    return jpeg[:transform] + b"\2" + jpeg[transform + 1 :]


def segment(marker: int, content: bytes) -> bytes:
    """A part of a JPEG between its start and its pixels."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def after_start(jpeg: bytes, inserted: bytes) -> bytes:
    """A JPEG with something behind its first marker."""
    return jpeg[:2] + inserted + jpeg[2:]


def exif(*entries: tuple[int, int, int], order: str = ">", start: int = 8) -> bytes:
    """EXIF of entries (tag, type, value), each value a short."""
    head = struct.pack(f"{order}2sHI", b"MM" if order == ">" else b"II", 42, start)
    count = struct.pack(f"{order}H", len(entries))
    return (
        head
        + count
        + b"".join(
            struct.pack(f"{order}HHIHxx", tag, kind, 1, value) for tag, kind, value in entries
        )
    )
