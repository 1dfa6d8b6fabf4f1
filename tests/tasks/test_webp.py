"""What is read of a WebP before it is decoded."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image

from inferctl.refusals import RequestError, Unprocessable, UnsupportedMedia
from inferctl.tasks.orientation import ORIENTATION_TAG
from inferctl.tasks.webp import HEADER_BYTES, read_webp

from .pictures import encoded, photo, plain

KINDS: dict[bytes, dict[str, Any]] = {
    b"VP8 ": {},
    b"VP8L": {"lossless": True},
    b"VP8X": {"icc_profile": b"no profile"},
}


def refusal(data: bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        read_webp(data)
    return caught.value


@pytest.mark.parametrize("header", KINDS)
@pytest.mark.parametrize("size", [(60, 40), (1, 1), (1000, 10)])
def test_the_size_is_read_of_every_kind(header: bytes, size: tuple[int, int]) -> None:
    data = encoded(plain("red", size), "WEBP", method=0, **KINDS[header])
    assert data[12:16] == header
    container = read_webp(bytearray(data))
    assert (container.width, container.height, container.orientation) == (*size, 1)


@pytest.mark.parametrize("options", KINDS.values())
def test_the_orientation_is_read(options: dict[str, Any]) -> None:
    tags = Image.Exif()
    tags[ORIENTATION_TAG] = 5
    assert read_webp(encoded(photo(60, 40), "WEBP", exif=tags, **options)).orientation == 5


def test_an_animation_is_refused() -> None:
    moving = encoded(plain("red"), "WEBP", save_all=True, append_images=[plain("blue")])
    assert isinstance(refusal(moving), UnsupportedMedia)


@pytest.mark.parametrize("options", KINDS.values())
def test_a_webp_that_ends_early_is_damaged(options: dict[str, Any]) -> None:
    data = encoded(photo(60, 40), "WEBP", **options)
    for size in range(12, len(data)):
        assert refusal(data[:size]).what == "the image is damaged"


@pytest.mark.parametrize("place", [12, 20, 23])
def test_a_header_that_is_none_is_damaged(place: int) -> None:
    data = bytearray(encoded(photo(60, 40), "WEBP", lossless=place == 20))
    data[place] ^= 0xFF
    assert len(data) > HEADER_BYTES
    assert isinstance(refusal(bytes(data)), Unprocessable)
