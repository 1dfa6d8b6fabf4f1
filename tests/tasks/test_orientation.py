"""How an image is to be turned, of whatever stands in the place of EXIF."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inferctl.tasks.orientation import IDENTIFIER, ORIENTATION_TAG, SHORT, UPRIGHT, orientation_of

from .pictures import exif

LONG = 4
MAKE = 0x010F


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("prefix", [b"", IDENTIFIER])
def test_both_byte_orders_are_read(order: str, orientation: int, prefix: bytes) -> None:
    tags = exif((MAKE, SHORT, 1), (ORIENTATION_TAG, SHORT, orientation), order=order)
    assert orientation_of(prefix + tags) == orientation
    assert orientation_of(bytearray(prefix + tags)) == orientation


def test_pillow_writes_what_is_read() -> None:
    tags = Image.Exif()
    tags[MAKE] = "a camera"
    tags[ORIENTATION_TAG] = 6
    assert orientation_of(tags.tobytes()) == 6


@pytest.mark.parametrize("value", [0, 9, 77, 65_535])
def test_what_does_not_exist_is_upright(value: int) -> None:
    assert orientation_of(exif((ORIENTATION_TAG, SHORT, value))) == UPRIGHT


@pytest.mark.parametrize(
    "tags",
    [
        b"", b"MM", b"MM\0*", b"XX\0*\0\0\0\x08", exif(), exif((MAKE, SHORT, 6)),
        exif((ORIENTATION_TAG, LONG, 6)), exif((ORIENTATION_TAG, SHORT, 6))[:-1],
        exif((ORIENTATION_TAG, SHORT, 6), start=2**32 - 1),
    ],
)  # fmt: skip
def test_damaged_exif_is_upright(tags: bytes) -> None:
    assert orientation_of(tags) == UPRIGHT


@given(st.binary(max_size=60))
def test_anything_has_an_orientation(tail: bytes) -> None:
    for head in (b"", b"MM\0*", b"II*\0"):
        assert 1 <= orientation_of(head + tail) <= 8


def test_as_many_tags_as_there_can_be_are_read_quickly() -> None:
    """Each points to 60 KB, which nobody reads."""
    entry = struct.pack(">HHII", MAKE, 7, 60_000, 8)
    tags = exif()[:-2] + struct.pack(">H", 65_535) + entry * 65_535
    begun_s = time.thread_time()
    assert orientation_of(tags) == UPRIGHT
    assert time.thread_time() - begun_s < 0.1
