"""Which chunks of a PNG a decoder gets to see."""

from __future__ import annotations

import time
import zlib

import pytest

from inferctl.refusals import RequestError, Unprocessable, UnsupportedMedia
from inferctl.tasks.orientation import ORIENTATION_TAG, SHORT
from inferctl.tasks.png import (
    DESCRIPTIONS,
    MAX_CHUNKS,
    MAX_DESCRIPTION_BYTES,
    MAX_DESCRIPTIONS_BYTES,
    read_png,
)

from .pictures import chunk, encoded, exif, photo, plain

PNG = encoded(photo(60, 40), "PNG")
END = chunk(b"IEND", b"")
HEAD_BYTES = 8 + 25


def refusal(data: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_png(data)
    return caught.value


def with_chunks(*chunks: bytes, behind: bool = False) -> bytes:
    """Before the pixels, or behind them."""
    place = len(PNG) - len(END) if behind else HEAD_BYTES
    return PNG[:place] + b"".join(chunks) + PNG[place:]


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_the_size_is_read(kind: type[bytes]) -> None:
    container = read_png(kind(PNG))
    assert (container.width, container.height, container.orientation) == (60, 40, 1)
    assert container.data == PNG


@pytest.mark.parametrize("behind", [False, True])
def test_descriptions_are_left_out(behind: bool) -> None:
    bomb = zlib.compress(bytes(2 * 1024 * 1024))
    chunks = [
        chunk(b"zTXt", b"a\0\0" + bomb), chunk(b"iCCP", b"a\0\0" + bomb), chunk(b"tEXt", b"a\0b"),
        chunk(b"iTXt", b"a\0\1\0\0\0" + bomb), chunk(b"gAMA", b"\0\0\0\1"), chunk(b"prVt", b"own"),
    ]  # fmt: skip
    assert read_png(with_chunks(*chunks, behind=behind)).data == PNG


@pytest.mark.parametrize("behind", [False, True])
def test_the_orientation_is_read_wherever_it_lies(behind: bool) -> None:
    turned = chunk(b"eXIf", exif((ORIENTATION_TAG, SHORT, 8)))
    assert read_png(with_chunks(turned, behind=behind)).orientation == 8


def test_transparency_and_palette_stay() -> None:
    image = encoded(plain(mode="P"), "PNG", transparency=0)
    assert b"tRNS" in image
    assert b"PLTE" in image
    assert read_png(image).data == image


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_a_description_may_be_as_large_as_the_limit(kind: bytes) -> None:
    read_png(with_chunks(chunk(kind, bytes(MAX_DESCRIPTION_BYTES))))
    error = refusal(with_chunks(chunk(kind, bytes(MAX_DESCRIPTION_BYTES + 1))))
    assert isinstance(error, Unprocessable)
    assert "too large" in error.what


def test_all_descriptions_may_be_as_large_as_the_limit() -> None:
    most = MAX_DESCRIPTIONS_BYTES // MAX_DESCRIPTION_BYTES
    four = [chunk(b"tEXt", bytes(MAX_DESCRIPTION_BYTES))] * most
    read_png(with_chunks(*four))
    assert isinstance(refusal(with_chunks(*four, chunk(b"iTXt", b"x"), behind=True)), Unprocessable)


@pytest.mark.parametrize("behind", [False, True])
def test_an_animation_is_refused(behind: bool) -> None:
    moving = with_chunks(chunk(b"acTL", bytes(8)), behind=behind)
    assert isinstance(refusal(moving), UnsupportedMedia)
    assert isinstance(
        refusal(encoded(plain(), "PNG", save_all=True, append_images=[plain("blue")])),
        UnsupportedMedia,
    )


def test_a_png_that_ends_early_is_damaged() -> None:
    for size in range(8, len(PNG)):
        assert refusal(PNG[:size]).what == "the image is damaged"


def test_what_lies_behind_its_end_is_left_out() -> None:
    assert read_png(PNG + b"junk" * 99).data == PNG


def test_there_may_be_so_many_chunks() -> None:
    begun_s = time.thread_time()
    assert read_png(with_chunks(*[chunk(b"teSt", b"")] * (MAX_CHUNKS // 2))).data == PNG
    assert isinstance(refusal(with_chunks(*[chunk(b"teSt", b"")] * 800_000)), Unprocessable)
    assert time.thread_time() - begun_s < 0.3


def test_a_chunk_that_says_it_is_longer_than_the_file_is_damaged() -> None:
    assert isinstance(refusal(with_chunks(b"\xff\xff\xff\xffteSt")), Unprocessable)


def test_a_screenshot_is_the_same_without_its_profile() -> None:
    rich = encoded(photo(60, 40), "PNG", icc_profile=b"no profile" * 100, dpi=(72, 72))
    assert len(rich) > len(PNG)
    assert read_png(rich).data == PNG
