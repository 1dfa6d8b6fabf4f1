"""PNG: its chunks."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from inferctl.refusals import Unprocessable
from inferctl.tasks.base import Body
from inferctl.tasks.container import Container, Pieces, animated, damaged
from inferctl.tasks.orientation import UPRIGHT, orientation_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# 10 MiB in pieces of 8 KiB, as encoders cut their pixels, are 1280.
MAX_CHUNKS = 16_384
# What describes the picture: texts, compressed or not, profiles, EXIF.
DESCRIPTIONS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf")
MAX_DESCRIPTION_BYTES = 64 * 1024
MAX_DESCRIPTIONS_BYTES = 256 * 1024

# A chunk has its length and its name before it, and a checksum behind.
HEAD = Struct(">I4s")
FRAME_BYTES = 12
# Set in the first letter of chunks that a decoder may do without.
LOWER_CASE = 0x20
HEADER = Struct(">II5x")


def read_png(data: Body) -> Container:
    """Raises Unprocessable for damage, or descriptions over their limits; UnsupportedMedia."""
    pieces = Pieces(data, len(SIGNATURE))
    width = height = described_bytes = 0
    orientation = UPRIGHT
    for kind, start, end in _chunks(data):
        content, size = start + HEAD.size, end - start - FRAME_BYTES
        if kind == b"IHDR" and size == HEADER.size:
            width, height = HEADER.unpack_from(data, content)
        elif kind == b"acTL":
            raise animated()
        elif kind in DESCRIPTIONS:
            described_bytes += size
            if size > MAX_DESCRIPTION_BYTES or described_bytes > MAX_DESCRIPTIONS_BYTES:
                raise Unprocessable("the PNG's texts or profiles are too large")
            if kind == b"eXIf":
                orientation = orientation_of(data[content : content + size])
        if not kind[0] & LOWER_CASE or kind == b"tRNS":
            pieces.keep(start, end)
    return Container(pieces.joined(), width, height, orientation)


def _chunks(data: Body) -> Iterator[tuple[bytes, int, int]]:
    """The kind of each chunk up to the last one, where it starts and ends in the file."""
    end = len(SIGNATURE)
    for _ in range(MAX_CHUNKS):
        start = end
        if start + FRAME_BYTES > len(data):
            break
        size, kind = HEAD.unpack_from(data, start)
        end = start + size + FRAME_BYTES
        if end > len(data):
            break
        yield kind, start, end
        if kind == b"IEND":
            return
    raise damaged()
