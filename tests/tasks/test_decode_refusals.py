"""Images that are refused: too large, damaged, hostile, or not images at all."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from inferctl.bundles.manifest import ImageInput
from inferctl.refusals import RequestError, TooLarge, Unprocessable, UnsupportedMedia
from inferctl.tasks.container import MAX_ASPECT, MAX_SIDE
from inferctl.tasks.decode import decode_base64, decode_image
from inferctl.tasks.jpeg import MAX_SCANS

from . import pictures
from .pictures import encoded, gradient, photo, plain

TO = ImageInput(height=8, width=8)
MANY_PIXELS, MANY_BYTES = 25_000_000, 10**7

# A palette image without its palette.
NO_PALETTE = pictures.png(1, 1, 8, 3, b"x\x9cc`\0\0\0\x02\0\x01")

OTHER_FORMATS = {
    "gif": encoded(plain(), "GIF"),
    "bmp": encoded(plain(), "BMP"),
    "tiff": encoded(plain(), "TIFF"),
    "ppm": encoded(plain(), "PPM"),
    "ico": encoded(plain(), "ICO"),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n",
    "psd": b"8BPS\0\1" + bytes(30),
    "fits": b"SIMPLE  =                    T" + bytes(80),
    "jp2": encoded(plain(), "JPEG2000"),
    "elf": b"\x7fELF\2\1\1" + bytes(60),
    "avi": b"RIFF\x40\0\0\0AVI LIST" + bytes(60),
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "html": b"<!doctype html><title>no image</title>",
    "random": np.random.default_rng(1).bytes(10 * 1024 * 1024),
    "empty": b"",
}


def refusal(data: bytes, max_pixels: int = MANY_PIXELS) -> RequestError:
    with pytest.raises(RequestError) as caught:
        decode_image(data, TO, max_pixels, "fast")
    assert_says_nothing_of_the_inside(caught.value)
    return caught.value


def assert_says_nothing_of_the_inside(error: RequestError) -> None:
    """No address, no path, no class name."""
    text = str(error)
    assert len(text) <= 200
    assert not re.search(r"0x|/|Error|Exception|<|>|Image|PIL|\\", text), text


def test_pixels_are_counted_up_to_the_limit() -> None:
    data = encoded(plain(size=(10, 10)), "PNG")
    assert decode_image(data, TO, 100, "fast").sent_width == 10
    error = refusal(data, 99)
    assert isinstance(error, TooLarge)
    assert "99 pixels" in error.what


@pytest.mark.parametrize("size", [(MAX_SIDE + 1, 200), (200, MAX_SIDE + 1)])
def test_a_side_may_not_be_longer_than_the_limit(size: tuple[int, int]) -> None:
    assert isinstance(refusal(encoded(Image.new("1", size), "PNG")), TooLarge)


@pytest.mark.parametrize(
    "size", [(MAX_SIDE, 164), (164, MAX_SIDE), (MAX_ASPECT, 1), (1, MAX_ASPECT)]
)
def test_a_side_may_be_as_long_as_the_limits(size: tuple[int, int]) -> None:
    pixels = decode_image(encoded(Image.new("1", size), "PNG"), TO, MANY_PIXELS, "fast")
    assert (pixels.sent_width, pixels.sent_height) == size


@pytest.mark.parametrize("size", [(MAX_ASPECT + 1, 1), (2, 2 * MAX_ASPECT + 1)])
def test_a_thread_of_an_image_is_unprocessable(size: tuple[int, int]) -> None:
    error = refusal(encoded(Image.new("1", size), "PNG"))
    assert isinstance(error, Unprocessable)
    assert error.what == "a side of the image is more than 100 times the other"


@pytest.mark.parametrize("size", [(0, 1), (1, 0)])
def test_an_image_without_pixels_is_unprocessable(size: tuple[int, int]) -> None:
    assert isinstance(refusal(pictures.png(*size, 8, 2, b"")), Unprocessable)


@pytest.mark.row(57)
@pytest.mark.parametrize("side", [12_000, 20_000])
def test_a_pixel_bomb_is_refused_from_its_header(side: int) -> None:
    bomb = pictures.one_bit_bomb(side)
    assert len(bomb) < 50_000
    begun_s = time.thread_time()
    assert isinstance(refusal(bomb), TooLarge)
    assert time.thread_time() - begun_s < 0.005


def test_a_declared_size_is_refused_before_the_pixels_are_looked_at() -> None:
    junk = pictures.png(12_000, 12_000, 8, 2, b"not compressed pixels")
    assert isinstance(refusal(junk), TooLarge)
    assert isinstance(refusal(junk, 10**9), Unprocessable)


@pytest.mark.row(65)
def test_a_jpeg_may_have_as_many_scans_as_the_limit() -> None:
    jpeg = encoded(photo(64, 48), "JPEG", progressive=True)
    scans = jpeg.count(pictures.START_OF_SCAN)
    assert 1 < scans < MAX_SCANS
    decode_image(pictures.with_extra_scans(jpeg, MAX_SCANS - scans), TO, MANY_PIXELS, "fast")
    error = refusal(pictures.with_extra_scans(jpeg, MAX_SCANS - scans + 1))
    assert isinstance(error, Unprocessable)


@pytest.mark.row(65)
def test_an_image_of_the_most_pixels_may_have_half_as_many_scans() -> None:
    jpeg = encoded(photo(64, 48), "JPEG", progressive=True)
    scans = jpeg.count(pictures.START_OF_SCAN)
    just = pictures.with_extra_scans(jpeg, MAX_SCANS // 2 - scans)
    decode_image(just, TO, 64 * 48, "fast")
    assert isinstance(refusal(just, 64 * 48 - 48), TooLarge)
    more = pictures.with_extra_scans(jpeg, MAX_SCANS // 2 - scans + 1)
    assert refusal(more, 64 * 48).what == "the JPEG has too many scans"


@pytest.mark.row(65)
@pytest.mark.parametrize("count", [50, 200, 1000])
def test_a_scan_bomb_is_refused_at_once(count: int) -> None:
    jpeg = encoded(Image.new("L", (4096, 4096), 128), "JPEG", progressive=True)
    bomb = pictures.with_extra_scans(jpeg, count)
    begun_s = time.thread_time()
    error = refusal(bomb)
    assert isinstance(error, Unprocessable)
    assert "too many scans" in error.what
    assert time.thread_time() - begun_s < 0.01


@pytest.mark.row(64)
@pytest.mark.parametrize("kind", pictures.FORMATS)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99])
def test_a_truncated_image_is_unprocessable(kind: str, share: float) -> None:
    data = encoded(photo(200, 150), kind)
    error = refusal(data[: int(len(data) * share)])
    assert isinstance(error, Unprocessable)
    assert error.what == "the image is damaged"


@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_an_image_cut_inside_its_header_is_refused(kind: str) -> None:
    data = encoded(photo(200, 150), kind)
    for size in range(1, 24):
        assert refusal(data[:size]).status in (415, 422)


@pytest.mark.row(64)
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_is_unprocessable(progressive: bool) -> None:
    jpeg = encoded(photo(200, 150), "JPEG", progressive=progressive)
    assert isinstance(refusal(jpeg.removesuffix(pictures.END_OF_IMAGE)), Unprocessable)


@pytest.mark.row(64)
def test_a_png_without_its_end_is_unprocessable() -> None:
    png = encoded(photo(20, 15), "PNG")
    assert isinstance(refusal(png[:-12]), Unprocessable)


@pytest.mark.row(64)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_flipped_byte_in_the_pixels_of_a_png_is_unprocessable(share: float) -> None:
    data = bytearray(encoded(photo(60, 40), "PNG"))
    data[int(len(data) * share)] ^= 0xFF
    assert isinstance(refusal(bytes(data)), Unprocessable)


def test_a_png_with_orientation_behind_damaged_pixels_is_unprocessable() -> None:
    orientation = pictures.chunk(
        b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"
    )
    end = pictures.chunk(b"IEND", b"")
    data = pictures.png(4, 4, 8, 2, b"no pixels").removesuffix(end) + orientation + end
    assert isinstance(refusal(data), Unprocessable)


def test_a_palette_image_without_palette_is_unprocessable() -> None:
    assert isinstance(refusal(NO_PALETTE), Unprocessable)


@pytest.mark.row(67)
@pytest.mark.parametrize("kind", OTHER_FORMATS)
def test_other_formats_are_unsupported(kind: str) -> None:
    assert isinstance(refusal(OTHER_FORMATS[kind]), UnsupportedMedia)


LOOK = """
import base64, sys
from contextlib import suppress
from inferctl.bundles.manifest import ImageInput
from inferctl.refusals import RequestError
from inferctl.tasks.decode import decode_base64, decode_image

began = False
def hook(event, arguments):
    if began and event.startswith(("open", "socket.", "os.", "subprocess", "urllib")):
        print(event, arguments)
for text in ("http://127.0.0.1:9/a.png", "file:///etc/passwd", "/etc/passwd", "../a.png"):
    with suppress(RequestError):
        decode_base64(text, 10**6)
for line in sys.stdin:
    sys.addaudithook(hook) if not began else None
    began = True
    with suppress(RequestError):
        decode_image(base64.b64decode(line), ImageInput(height=8, width=8), 10**6, "fast")
began = False  # what measures coverage writes it down at the end
print(*sorted(name for name in sys.modules if name.endswith("ImagePlugin")))
"""


@pytest.mark.row(56, 67)
def test_no_other_decoder_is_loaded_and_no_file_opened() -> None:
    """Whatever is sent, from the first image on."""
    images = [data for data in OTHER_FORMATS.values() if len(data) < 10**6]
    images += [encoded(photo(60, 40), kind) for kind in pictures.FORMATS]
    lines = "\n".join(base64.b64encode(data).decode() for data in images)
    command = [sys.executable, "-c", LOOK]
    said = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout
    assert said.split() == [f"PIL.{kind}ImagePlugin" for kind in ("Jpeg", "Png", "WebP")]


SEEDS = [
    *(encoded(Image.fromarray(gradient(24, 16)), kind) for kind in pictures.FORMATS),
    encoded(plain(mode="P"), "PNG", transparency=0),
    encoded(plain(mode="CMYK"), "JPEG", progressive=True),
    encoded(
        Image.fromarray(gradient(24, 16)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12"
    ),
    pictures.two_pictures(),
]


@pytest.mark.filterwarnings("ignore")  # Pillow warns of damaged metadata
@settings(max_examples=400, deadline=None)
@given(
    data=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=4)), max_size=8),
)
@example(data=NO_PALETTE, changes=[])
def test_damage_gives_an_image_or_a_refusal_and_nothing_else(
    data: bytes, changes: list[tuple[int, bytes]]
) -> None:
    for place, new in changes:
        data = data[:place] + new + data[place + len(new) :]
    try:
        pixels = decode_image(data, TO, MANY_PIXELS, "fast")
    except RequestError as error:
        assert_says_nothing_of_the_inside(error)
    else:
        assert pixels.array.shape == (8, 8, 3)


@given(st.binary(min_size=1, max_size=200))
def test_base64_gives_back_what_was_encoded(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode(), len(data)) == data


@given(st.binary(min_size=4, max_size=200))
def test_the_size_of_base64_is_known_before_it_is_decoded(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    for most in range(len(data) - 3):
        with pytest.raises(TooLarge):
            decode_base64(text, most)
        with pytest.raises(TooLarge):
            decode_base64("!" * len(text), most)


@pytest.mark.row(55)
@pytest.mark.parametrize(
    "text",
    [
        "", "QUJD\n",
        "QU\nJD", "QU JD", "-_-_", "QUI", "QU=I", "QUJD=", "QUJDRA==QUJD", "====", "=",
        "A", "data:image/png;base64,QUJD", "/etc/passwd", "../secret.png",
        "äöü=", "QUJ\u0430", "QUJ!", "\0\0\0\0", "😀",
    ],
)  # fmt: skip
def test_what_is_not_strict_base64_is_refused(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        decode_base64(text, MANY_BYTES)
    assert type(caught.value) is RequestError
    assert_says_nothing_of_the_inside(caught.value)


@pytest.mark.row(56)
@pytest.mark.parametrize(
    "text", ["https://example.org/a.png", "file:///etc/passwd", "http://[::1]/", "s3://bucket/a"]
)
def test_a_url_is_unprocessable(text: str) -> None:
    with pytest.raises(Unprocessable, match="image_b64 is a URL"):
        decode_base64(text, MANY_BYTES)
