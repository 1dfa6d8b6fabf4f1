"""EXIF's orientation, and nothing else of EXIF.

Pillow reads every tag, and warns of each that is damaged: 60 KB of them take 0.2 s and leave 5,000
lines on stderr.
"""

from __future__ import annotations

from struct import Struct, error

from inferctl.tasks.base import Body

IDENTIFIER = b"Exif\0\0"
UPRIGHT = 1
ORIENTATION_TAG = 0x0112
SHORT = 3
ENTRY_BYTES = 12

# By byte order: offset of the first directory, entries in it, an entry's tag, type and value.
LAYOUTS = {
    b"II*\0": (Struct("<I"), Struct("<H"), Struct("<HH4xH2x")),
    b"MM\0*": (Struct(">I"), Struct(">H"), Struct(">HH4xH2x")),
}


def orientation_of(exif: Body) -> int:
    """1 to 8; 1 for EXIF that is damaged, says nothing of it, or what does not exist."""
    tiff = bytes(exif).removeprefix(IDENTIFIER)
    layout = LAYOUTS.get(tiff[:4])
    if layout is None:
        return UPRIGHT
    offset, count, entry = layout
    try:
        (start,) = offset.unpack_from(tiff, 4)
        (entries,) = count.unpack_from(tiff, start)
        start += count.size
        for place in range(start, start + entries * ENTRY_BYTES, ENTRY_BYTES):
            tag, kind, value = entry.unpack_from(tiff, place)
            if tag == ORIENTATION_TAG:
                return value if kind == SHORT and 1 <= value <= 8 else UPRIGHT
    except error:
        pass
    return UPRIGHT
