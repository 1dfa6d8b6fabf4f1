"""JPEG: its segments up to the pixels, and how often it sends them."""

from __future__ import annotations

import re

from inferctl.refusals import Unprocessable, UnsupportedMedia
from inferctl.tasks.base import Body
from inferctl.tasks.container import Container, Pieces, damaged
from inferctl.tasks.orientation import IDENTIFIER, UPRIGHT, orientation_of

SIGNATURE = b"\xff\xd8\xff"
# A progressive JPEG may repeat scans without end, 13 ms of CPU for every 33 bytes. Encoders make 10
# of them, or 18 of four colours.
MAX_SCANS = 64
# An encoder writes a dozen segments, and some between the scans.
MAX_SEGMENTS = 1024
TOO_MANY = "the JPEG has too many scans or segments"

PREFIX = b"\xff"
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN = 0xD8, 0xD9, 0xDA
BASELINE, EXTENDED, PROGRESSIVE = 0xC0, 0xC1, 0xC2
HUFFMAN_TABLES, EXTENSION, ARITHMETIC_TABLES = 0xC4, 0xC8, 0xCC
# Arithmetic, lossless and hierarchical ones, which no browser shows.
OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {HUFFMAN_TABLES, EXTENSION, ARITHMETIC_TABLES}
# They have no length: restarts, a temporary one, and the zero of a byte 255.
ALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD8)))
JFIF, EXIF, ADOBE = 0xE0, 0xE1, 0xEE
APPLICATIONS_AND_COMMENTS = frozenset((*range(0xE0, 0xF0), 0xFE))
# Of these the colours depend.
KEPT = {JFIF: b"JFIF", ADOBE: b"Adobe"}
# What ends the pixels of a scan.
NEXT_SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


def read_jpeg(data: Body) -> Container:
    """Raises Unprocessable for damage or too many scans, UnsupportedMedia for rare kinds.

    A sequential JPEG, the usual one, is read up to its pixels; of any other the scans are counted.
    """
    pieces = Pieces(data, 2)
    width = height = colours = 0
    is_progressive = False
    orientation = 0  # no EXIF yet; of several the first one counts
    place = 2
    for _ in range(MAX_SEGMENTS):
        place = data.find(PREFIX, place)
        marker, end = _segment(data, place)
        if marker == START_OF_SCAN:
            pieces.keep(place, len(data))
            is_sequential = not is_progressive and data[place + 4] == colours
            scans = 1 if is_sequential else _count_scans(data, place)
            return Container(pieces.joined(), width, height, orientation or UPRIGHT, scans)
        if marker in (BASELINE, EXTENDED, PROGRESSIVE):
            height, width = _sides(data, place, end)
            colours, is_progressive = data[place + 9], marker == PROGRESSIVE
        elif marker in OTHER_FRAMES:
            raise UnsupportedMedia("this kind of JPEG is not taken", hint="use a usual one")
        if marker == EXIF and not orientation and data.startswith(IDENTIFIER, place + 4):
            orientation = orientation_of(data[place + 4 : end])
        if marker not in ALONE and _is_kept(data, marker, place):
            pieces.keep(place, end)
        place = end
    raise Unprocessable(TOO_MANY)


def _segment(data: Body, place: int) -> tuple[int, int]:
    """The marker at a place, and where its segment ends, which is inside the file."""
    if place < 0 or place + 4 > len(data):
        raise damaged()
    marker = data[place + 1]
    if marker == PREFIX[0]:
        return 0, place + 1
    if marker in ALONE:
        return marker, place + 2
    size = int.from_bytes(data[place + 2 : place + 4])
    end = place + 2 + size
    if marker in (START_OF_IMAGE, END_OF_IMAGE) or size < 2 or end > len(data):
        raise damaged()
    return marker, end


def _sides(data: Body, place: int, end: int) -> tuple[int, int]:
    """Height and width of a frame."""
    if end < place + 10:
        raise damaged()
    return int.from_bytes(data[place + 5 : place + 7]), int.from_bytes(data[place + 7 : place + 9])


def _is_kept(data: Body, marker: int, place: int) -> bool:
    if marker not in APPLICATIONS_AND_COMMENTS:
        return True
    return marker in KEPT and data.startswith(KEPT[marker], place + 4)


def _count_scans(data: Body, place: int) -> int:
    """The scans from the first one on, up to the image's end: what lies behind it may be anything.

    Segments are jumped over: their content is no marker, whatever it looks like.
    """
    scans = 0
    for _ in range(MAX_SEGMENTS):
        marker, end = _segment(data, place)
        scans += marker == START_OF_SCAN
        found = NEXT_SEGMENT.search(data, end)
        if found is None:
            raise damaged()
        place = found.start()
        if scans > MAX_SCANS:
            break
        if data[place + 1] == END_OF_IMAGE:
            return scans
    raise Unprocessable(TOO_MANY)
