"""What is read of a JPEG before it is decoded, and what a decoder gets of it."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from PIL import Image

from inferctl.refusals import RequestError, Unprocessable, UnsupportedMedia
from inferctl.tasks.jpeg import IDENTIFIER, MAX_SCANS, MAX_SEGMENTS, read_jpeg
from inferctl.tasks.orientation import ORIENTATION_TAG, SHORT

from . import pictures
from .pictures import after_start, encoded, exif, photo, plain, segment

BASELINE = encoded(photo(60, 40), "JPEG")
PROGRESSIVE = encoded(photo(60, 40), "JPEG", progressive=True)
SCANS = PROGRESSIVE.count(pictures.START_OF_SCAN)
COMMENT, THUMBNAIL = 0xFE, 0xE1


def refusal(data: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_jpeg(data)
    return caught.value


@pytest.mark.parametrize("data", [BASELINE, PROGRESSIVE])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_size_and_scans_are_read(data: bytes, kind: type[bytes]) -> None:
    container = read_jpeg(kind(data))
    assert (container.width, container.height, container.orientation) == (60, 40, 1)
    assert container.scans == (1 if data is BASELINE else SCANS)
    assert container.data == data


def test_metadata_is_read_and_left_out() -> None:
    turned = IDENTIFIER + exif((ORIENTATION_TAG, SHORT, 6))
    other = IDENTIFIER + exif((ORIENTATION_TAG, SHORT, 3))
    metadata = [
        segment(0xE1, turned), segment(0xE1, other), segment(0xE1, b"http://ns.adobe.com/xap/1.0/"),
        segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(60_000)), segment(0xED, b"Photoshop 3.0\0"),
        segment(COMMENT, b"\xff\xda" * 100),
    ]  # fmt: skip
    container = read_jpeg(after_start(BASELINE, b"".join(metadata)))
    assert container.orientation == 6
    assert container.data == BASELINE


def test_what_the_colours_depend_on_stays() -> None:
    for colour in (pictures.cmyk(0, 0, 0, 0), pictures.ycck(0, 0, 0, 0)):
        assert read_jpeg(colour).data == colour
    other = after_start(BASELINE, segment(0xE0, b"JFXX\0") + segment(0xEE, b"other"))
    assert read_jpeg(other).data == BASELINE


def test_a_megabyte_between_the_segments_is_left_out_quickly() -> None:
    """Pillow would look at each of these bytes in Python."""
    padded = after_start(BASELINE, b"\xff" + segment(COMMENT, b"") + bytes(10**6))
    begun_s = time.thread_time()
    assert read_jpeg(padded).data == BASELINE
    assert time.thread_time() - begun_s < 0.01


def test_scans_are_counted_up_to_the_end_of_the_image() -> None:
    """What lies behind it, a film or a second picture, may hold whatever looks like a scan."""
    behind = pictures.START_OF_SCAN * 1000
    assert read_jpeg(PROGRESSIVE + behind).scans == SCANS
    assert read_jpeg(BASELINE + behind).scans == 1


def test_scans_in_parts_of_a_sequential_jpeg_are_counted() -> None:
    first = BASELINE.index(pictures.START_OF_SCAN)
    one_colour = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\0\xff\x00\xff\xd0\0"
    apart = BASELINE[:first] + one_colour * 3 + pictures.END_OF_IMAGE
    assert read_jpeg(apart).scans == 3
    assert "too many scans" in refusal(BASELINE[:first] + one_colour * (MAX_SCANS + 2)).what


@pytest.mark.parametrize("hidden", [pictures.END_OF_IMAGE, pictures.START_OF_SCAN])
def test_what_a_segment_holds_is_no_marker(hidden: bytes) -> None:
    """An end that is hidden in a comment would hide the scans behind it."""
    end = PROGRESSIVE.index(pictures.END_OF_IMAGE)
    comment = segment(COMMENT, hidden * 100)
    with_comment = PROGRESSIVE[:end] + comment + PROGRESSIVE[end:]
    assert read_jpeg(with_comment).scans == SCANS
    bomb = pictures.with_extra_scans(PROGRESSIVE, 100)
    first = bomb.index(pictures.START_OF_SCAN, bomb.index(pictures.START_OF_SCAN) + 2)
    tables = bomb.rindex(b"\xff\xc4", 0, first)
    assert "too many scans" in refusal(bomb[:tables] + comment + bomb[tables:]).what


@pytest.mark.parametrize("behind", [0, 1])
def test_there_may_be_so_many_segments(behind: int) -> None:
    place = PROGRESSIVE.index(pictures.END_OF_IMAGE) if behind else 2
    few, many = (
        PROGRESSIVE[:place] + segment(COMMENT, b"") * count + PROGRESSIVE[place:]
        for count in (MAX_SEGMENTS // 2, MAX_SEGMENTS)
    )
    assert read_jpeg(few).scans == SCANS
    assert isinstance(refusal(many), Unprocessable)


@pytest.mark.parametrize("frame", [0xC3, 0xC5, 0xC9, 0xCA, 0xCF])
def test_rare_kinds_are_not_taken(frame: int) -> None:
    usual = BASELINE.index(b"\xff\xc0")
    rare = BASELINE[:usual] + bytes((0xFF, frame)) + BASELINE[usual + 2 :]
    assert isinstance(refusal(rare), UnsupportedMedia)


def test_a_jpeg_that_ends_before_its_pixels_is_damaged() -> None:
    for size in range(3, BASELINE.index(pictures.START_OF_SCAN) + 2):
        assert refusal(BASELINE[:size]).what == "the image is damaged"
    assert isinstance(refusal(b"\xff\xd8" + pictures.END_OF_IMAGE + BASELINE), Unprocessable)


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\x00", b"\xff\xd0", b"\0"])
def test_ten_megabytes_of_nothing_are_refused_quickly(filling: bytes) -> None:
    nothing = filling * (10**7 // len(filling))
    start = PROGRESSIVE[: PROGRESSIVE.index(pictures.START_OF_SCAN) + 12]
    begun_s = time.thread_time()
    for head in (pictures.START_OF_SCAN[:0] + b"\xff\xd8", start):
        assert isinstance(refusal(head + nothing), Unprocessable)
    assert time.thread_time() - begun_s < 0.3


def test_a_picture_is_the_same_without_its_metadata() -> None:
    tags = Image.Exif()
    tags[ORIENTATION_TAG] = 6
    rich = encoded(
        plain("red"), "JPEG", exif=tags, comment=b"a comment", icc_profile=b"no profile" * 9000
    )
    bare = read_jpeg(rich).data
    assert len(bare) < 1000 < 90_000 < len(rich)
    assert np.array_equal(Image.open(io.BytesIO(bare)), Image.open(io.BytesIO(rich)))
