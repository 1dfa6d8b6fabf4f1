"""Small images: good ones of each format and mode, and such as cost or break a decoder."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import Any

from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
START_OF_SCAN = b"\xff\xda"
END_OF_IMAGE = b"\xff\xd9"


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The image's file."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def coloured(colour: str, kind: str = "PNG", mode: str = "RGB", side: int = 9) -> bytes:
    """One of one colour."""
    return encoded(Image.new("RGB", (side, side), colour).convert(mode), kind)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """A PNG's chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, bits: int = 1, colours: int = 0) -> bytes:
    """A PNG of black pixels, with chunks of your own before them."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0)
    packer = zlib.compressobj(9)
    row = bytes(1 + (width * bits + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    parts = (chunk(b"IHDR", header), *chunks, chunk(b"IDAT", rows), chunk(b"IEND"))
    return PNG_START + b"".join(parts)


def scan_bomb(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    whole = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    last = whole[whole.rindex(START_OF_SCAN) : whole.rindex(END_OF_IMAGE)]
    return whole[: whole.rindex(END_OF_IMAGE)] + last * scans + END_OF_IMAGE


def good_images() -> dict[str, bytes]:
    """By what is special about them; all are answered."""
    base = Image.linear_gradient("L").resize((24, 16))
    rgb = Image.merge("RGB", (base, base.rotate(180), base))
    exif = Image.Exif()
    exif[0x0112] = 6
    found = {f"png {mode}": encoded(rgb.convert(mode), "PNG") for mode in ("1", "L", "P", "RGBA")}
    found |= {f"jpeg {mode}": encoded(rgb.convert(mode), "JPEG") for mode in ("L", "RGB", "CMYK")}
    return found | {
        "png LA": encoded(base.convert("LA"), "PNG"),
        "png I;16": encoded(base.convert("I").point(lambda v: v * 257).convert("I;16"), "PNG"),
        "jpeg progressive": encoded(rgb, "JPEG", progressive=True),
        "jpeg turned": encoded(rgb, "JPEG", exif=exif),
        "webp": encoded(rgb, "WEBP"),
        "webp lossless": encoded(rgb.convert("RGBA"), "WEBP", lossless=True),
        "1 x 1": coloured("red", side=1),
        "text bomb": text_bomb(),
    }


def text_bomb() -> bytes:
    """A PNG with 4 MiB of text, packed; nobody needs to unpack it."""
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**21)))
    return png(8, 8, text, text)


def bad_images() -> dict[str, bytes]:
    """By what is wrong with them; all are refused."""
    photo = good_images()["jpeg RGB"]
    flat = coloured("red")
    return {
        "pixel bomb": png(12_000, 12_000),
        "too wide": png(20_000, 1),
        "scan bomb": scan_bomb(200),
        "long text": png(8, 8, chunk(b"tEXt", b"a\0" + b"b" * 70_000)),
        "cut": photo[: len(photo) // 2],
        "half a header": flat[:20],
        "wrong CRC": flat[:40] + bytes([flat[40] ^ 1]) + flat[41:],
        "gif": coloured("red", "GIF", "P"),
        "bmp": coloured("red", "BMP"),
        "tiff": coloured("red", "TIFF"),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
        "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "pdf": b"%PDF-1.7\n1 0 obj\n",
        "elf": b"\x7fELF\x02\x01\x01" + bytes(57),
        "nothing": b"",
        "noise": bytes(range(256)) * 8,
    }
