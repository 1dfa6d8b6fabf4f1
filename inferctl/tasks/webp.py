"""WebP: its canvas, and the chunks behind it."""

from __future__ import annotations

from struct import Struct

from inferctl.tasks.base import Body
from inferctl.tasks.container import Container, animated, damaged
from inferctl.tasks.orientation import UPRIGHT, orientation_of

RIFF, WEBP = b"RIFF", b"WEBP"
CHUNK = Struct("<4sI")
FIRST_CHUNK = 12
FIRST_CONTENT = FIRST_CHUNK + CHUNK.size
# Up to the sides in every kind of header.
HEADER_BYTES = 30
# A still image has a handful.
MAX_CHUNKS = 64

ANIMATION, EXIF = 0x02, 0x08
LOSSLESS_SIGNATURE = 0x2F
LOSSY_SIGNATURE = b"\x9d\x01\x2a"
SIDE_BITS = 14
SIDE = (1 << SIDE_BITS) - 1


def read_webp(data: Body) -> Container:
    """Raises Unprocessable for damage, UnsupportedMedia for an animation."""
    _, size = CHUNK.unpack_from(data)
    if len(data) < max(HEADER_BYTES, size + CHUNK.size):
        raise damaged()
    kind, _ = CHUNK.unpack_from(data, FIRST_CHUNK)
    orientation = UPRIGHT
    if kind == b"VP8X":
        flags = data[FIRST_CONTENT]
        if flags & ANIMATION:
            raise animated()
        if flags & EXIF:
            orientation = _orientation(data)
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
    elif kind == b"VP8L" and data[FIRST_CONTENT] == LOSSLESS_SIGNATURE:
        bits = int.from_bytes(data[21:25], "little")
        width, height = 1 + (bits & SIDE), 1 + (bits >> SIDE_BITS & SIDE)
    elif kind == b"VP8 " and data[23:26] == LOSSY_SIGNATURE:
        width = int.from_bytes(data[26:28], "little") & SIDE
        height = int.from_bytes(data[28:30], "little") & SIDE
    else:
        raise damaged()
    return Container(data, width, height, orientation)


def _orientation(data: Body) -> int:
    place = FIRST_CHUNK
    for _ in range(MAX_CHUNKS):
        if place + CHUNK.size > len(data):
            break
        kind, size = CHUNK.unpack_from(data, place)
        content = place + CHUNK.size
        if kind == b"EXIF":
            return orientation_of(data[content : content + size])
        place = content + size + (size & 1)
    return UPRIGHT
