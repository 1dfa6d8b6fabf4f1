"""What an image looks like when it reaches the model."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from inferctl.bundles.manifest import ImageInput
from inferctl.refusals import UnsupportedMedia
from inferctl.tasks import decode as decode_module
from inferctl.tasks.decode import Pixels, decode_image

from . import pictures
from .pictures import encoded, gradient, photo, plain

ANY_SIZE = 10**9
ORIENTATION = 0x0112

# How a camera stores an upright picture under each orientation, from the standard's own words.
STORED: dict[int, Callable[[pictures.Pixels], pictures.Pixels]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


def decoded(data: bytes, width: int = 12, height: int = 8, decode: str = "exact") -> Pixels:
    to = ImageInput(height=height, width=width)
    return decode_image(data, to, ANY_SIZE, decode)  # type: ignore[arg-type]


def first_pixel(data: bytes) -> list[int]:
    colour: list[int] = decoded(data).array[0, 0].tolist()
    return colour


def oriented(stored: pictures.Pixels, orientation: int, kind: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif)


@pytest.mark.parametrize("kind", pictures.FORMATS)
@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 31), (64, 48)])
@pytest.mark.parametrize("decode", ["fast", "exact"])
def test_every_format_is_brought_to_the_model_s_size(
    kind: str, width: int, height: int, decode: str
) -> None:
    pixels = decoded(encoded(plain("red", (200, 100)), kind), width, height, decode)
    assert pixels.array.shape == (height, width, 3)
    assert pixels.array.dtype == np.uint8
    assert (pixels.sent_width, pixels.sent_height) == (200, 100)
    assert abs(pixels.array.astype(int) - (255, 0, 0)).max() <= 4


@pytest.mark.row(59)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_an_oriented_image_is_decoded_upright(orientation: int, kind: str) -> None:
    upright = decoded(encoded(Image.fromarray(gradient()), "PNG"))
    turned = decoded(oriented(STORED[orientation](gradient()), orientation, kind))
    assert (turned.sent_width, turned.sent_height) == (60, 40)
    difference = abs(turned.array.astype(int) - upright.array)
    assert difference.max() <= (1 if kind == "PNG" else 12)


@pytest.mark.row(59)
@pytest.mark.parametrize("orientation", [0, 9, 77, 65_535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    pixels = decoded(oriented(gradient(), orientation))
    assert np.array_equal(pixels.array, decoded(oriented(gradient(), 1)).array)


@pytest.mark.row(59)
@pytest.mark.parametrize(
    "exif",
    [b"", b"junk", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0" + b"\x7f" * 999],
)
@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_damaged_exif_counts_as_none(exif: bytes, kind: str) -> None:
    image = Image.fromarray(gradient())
    with_exif = decoded(encoded(image, kind, exif=exif))
    assert np.array_equal(with_exif.array, decoded(encoded(image, kind)).array)


@pytest.mark.row(59)
def test_sixty_kilobytes_of_exif_are_no_obstacle() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    exif[0x010E] = "x" * 60_000
    data = encoded(Image.fromarray(gradient()[::-1, ::-1]), "JPEG", exif=exif, quality=95)
    assert abs(decoded(data).array.astype(int) - decoded(oriented(gradient(), 1)).array).max() <= 6


@pytest.mark.row(60)
def test_16_bit_grey_keeps_its_levels() -> None:
    ramp = np.linspace(0, 65_535, 1024).astype(np.uint16)[None, :].repeat(16, 0)
    pixels = decoded(encoded(Image.fromarray(ramp), "PNG"), 1024, 16).array
    assert len(np.unique(pixels)) >= 250
    assert abs(pixels[:, :, 0].astype(int) - ramp / 257).max() <= 1


@pytest.mark.row(61)
def test_16_bit_colour_is_scaled_to_8_bits() -> None:
    row = b"\0" + bytes((0xFF, 0xFF, 0x80, 0x80, 0, 0)) * 4
    assert first_pixel(pictures.png(4, 4, 16, 2, zlib.compress(row * 4))) == [255, 128, 0]


@pytest.mark.row(61, 62)
@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_grey_has_three_equal_channels(kind: str) -> None:
    grey, *others = first_pixel(encoded(Image.new("L", (9, 9), 100), kind))
    assert abs(grey - 100) <= 2
    assert others == [grey, grey]


@pytest.mark.row(61)
def test_one_bit_is_black_or_white() -> None:
    assert first_pixel(encoded(Image.new("1", (9, 9), 0), "PNG")) == [0, 0, 0]
    assert first_pixel(encoded(Image.new("1", (9, 9), 1), "PNG")) == [255, 255, 255]


@pytest.mark.row(61)
@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("LA", (0, 255), [0, 0, 0]),
        ("LA", (0, 128), [127, 127, 127]),
        ("LA", (0, 0), [255, 255, 255]),
        ("RGBA", (255, 0, 0, 255), [255, 0, 0]),
        ("RGBA", (255, 0, 0, 51), [255, 204, 204]),
        ("RGBA", (255, 0, 0, 0), [255, 255, 255]),
    ],
)
def test_transparency_is_laid_on_white(mode: str, colour: object, expected: list[int]) -> None:
    image = Image.new(mode, (9, 9), colour)  # type: ignore[arg-type]
    assert first_pixel(encoded(image, "PNG")) == expected
    if mode == "RGBA":
        lossless = first_pixel(encoded(image, "WEBP", lossless=True))
        assert np.allclose(lossless, expected, atol=1)


@pytest.mark.row(61)
@pytest.mark.parametrize(
    ("index", "expected"), [(0, [255, 255, 255]), (1, [0, 128, 0]), (2, [127, 127, 255])]
)
def test_a_transparent_palette_entry_is_white(index: int, expected: list[int]) -> None:
    image = Image.new("P", (9, 9), index)
    image.putpalette([255, 0, 0, 0, 128, 0, 0, 0, 255])
    assert first_pixel(encoded(image, "PNG", transparency=b"\0\xff\x80")) == expected


@pytest.mark.parametrize(("mode", "key"), [("1", 0), ("L", 0), ("RGB", (0, 0, 0))])
def test_a_transparent_colour_is_white(mode: str, key: object) -> None:
    assert first_pixel(encoded(Image.new(mode, (9, 9)), "PNG", transparency=key)) == [255] * 3


@pytest.mark.row(62)
@pytest.mark.parametrize("colour", [(255, 0, 0), (20, 200, 90)])
@pytest.mark.parametrize("progressive", [False, True])
def test_cmyk_is_turned_into_rgb(colour: tuple[int, int, int], progressive: bool) -> None:
    inks = tuple(255 - part for part in colour)
    for kind in (pictures.cmyk, pictures.ycck):
        pixel = first_pixel(kind(*inks, 0, progressive=progressive))
        assert np.allclose(pixel, colour, atol=4), kind
    assert first_pixel(pictures.cmyk(*inks, 255, progressive=progressive)) == [0, 0, 0]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(kind: str) -> None:
    moving = encoded(plain("red"), kind, save_all=True, append_images=[plain("blue")])
    with pytest.raises(UnsupportedMedia, match="animated"):
        decoded(moving)


@pytest.mark.parametrize("decode", ["fast", "exact"])
def test_a_jpeg_with_a_second_picture_gives_the_first(decode: str) -> None:
    upright = decoded(encoded(Image.fromarray(gradient()), "PNG"))
    pixels = decoded(pictures.two_pictures(quality=95), decode=decode)
    assert abs(pixels.array.astype(int) - upright.array).max() <= 12


@pytest.mark.row(64)
def test_bytes_behind_the_image_do_no_harm() -> None:
    data = encoded(photo(60, 40), "JPEG")
    assert np.array_equal(decoded(data + b"\0junk" * 200).array, decoded(data).array)


@pytest.mark.parametrize("resample", decode_module.RESAMPLING)
def test_the_manifest_s_filter_is_used(resample: str) -> None:
    image = photo(100, 80)
    to = ImageInput(height=16, width=16, resample=resample)  # type: ignore[arg-type]
    expected = image.resize((16, 16), decode_module.RESAMPLING[resample])
    pixels = decode_image(encoded(image, "PNG"), to, ANY_SIZE, "exact").array
    assert np.array_equal(pixels, np.asarray(expected))


def test_fast_differs_from_exact_by_little_and_only_for_jpeg() -> None:
    for kind, same in (("JPEG", False), ("PNG", True)):
        data = encoded(photo(), kind)
        fast, exact = (decoded(data, 64, 64, way).array.astype(int) for way in ("fast", "exact"))
        assert np.array_equal(fast, exact) is same
        assert abs(fast - exact).mean() < 1.5
        assert abs(fast - exact).max() <= 12


LETTERBOX = ImageInput(height=32, width=48, resize="letterbox", pad=114)


@pytest.mark.parametrize("decode", ["fast", "exact"])
@pytest.mark.parametrize("kind", pictures.FORMATS)
@pytest.mark.parametrize(
    ("size", "columns", "rows"),
    [((480, 160), (0, 48), (8, 24)), ((160, 320), (16, 32), (0, 32)), ((4, 5), (11, 37), (0, 32))],
)
def test_a_letterboxed_image_is_whole_and_its_border_grey(
    size: tuple[int, int], columns: tuple[int, int], rows: tuple[int, int], kind: str, decode: str
) -> None:
    data = encoded(plain("red", size), kind)
    pixels = decode_image(data, LETTERBOX, ANY_SIZE, decode).array.astype(int)  # type: ignore[arg-type]
    inside = np.zeros((32, 48), bool)
    inside[slice(*rows), slice(*columns)] = True
    assert abs(pixels[inside] - (255, 0, 0)).max() <= 4
    assert (pixels[~inside] == 114).all()


@pytest.mark.parametrize("orientation", STORED)
def test_a_letterboxed_image_lies_where_it_does_when_it_is_stored_upright(orientation: int) -> None:
    upright, turned = (
        decode_image(data, LETTERBOX, ANY_SIZE, "exact").array.astype(int)
        for data in (
            oriented(gradient(61, 23), 1),
            oriented(STORED[orientation](gradient(61, 23)), orientation),
        )
    )
    assert abs(turned - upright).max() <= 1
