"""A cropped image is, pixel for pixel, what Pillow's plain recipe makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from inferctl.bundles.manifest import ImageInput
from inferctl.tasks.decode import RESAMPLING, decode_image

from .pictures import FORMATS, Pixels, encoded, gradient, photo
from .test_decode import ANY_SIZE, STORED, oriented

SIZES = [(90, 60), (61, 97), (64, 64), (20, 15), (200, 31)]
# Only the part that is kept is resized: sums in another order round otherwise, by one level.
ROUNDING = 1


def cropping(resample: str = "bilinear", resize: str = "crop") -> ImageInput:
    return ImageInput.model_validate(
        {"height": 28, "width": 24, "resize": resize, "short_side": 33, "resample": resample}
    )


def plain_recipe(image: Image.Image, to: ImageInput) -> Pixels:
    """Resize all of it, then cut out the centre."""
    assert to.short_side is not None
    width, height = image.size
    short = min(width, height)
    size = (int(to.short_side * width / short), int(to.short_side * height / short))
    if to.resize == "stretch-crop":
        size = (to.short_side, to.short_side)
    left, top = (size[0] - to.width) // 2, (size[1] - to.height) // 2
    whole = image.resize(size, RESAMPLING[to.resample])
    return np.asarray(whole.crop((left, top, left + to.width, top + to.height)))


def difference(data: bytes, to: ImageInput, expected: Pixels, decode: str = "exact") -> Pixels:
    pixels = decode_image(data, to, ANY_SIZE, decode).array  # type: ignore[arg-type]
    assert pixels.shape == expected.shape == (28, 24, 3)
    return abs(pixels.astype(int) - expected)


@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("resize", ["crop", "stretch-crop"])
@pytest.mark.parametrize("size", SIZES)
def test_exact_pixels_are_those_of_the_plain_recipe(
    size: tuple[int, int], resize: str, resample: str
) -> None:
    image, to = photo(*size), cropping(resample, resize)
    assert difference(encoded(image, "PNG"), to, plain_recipe(image, to)).max() <= ROUNDING


@pytest.mark.parametrize("size", [(61, 97), (20, 15), (200, 31)])
def test_the_nearest_pixel_is_the_same_one(size: tuple[int, int]) -> None:
    """At these sizes; at others two pixels are equally near, and either may be taken."""
    image, to = photo(*size), cropping("nearest")
    assert difference(encoded(image, "PNG"), to, plain_recipe(image, to)).max() == 0


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_cropped(kind: str) -> None:
    image, to = Image.fromarray(gradient(200, 120)), cropping()
    assert difference(encoded(image, kind), to, plain_recipe(image, to)).max() <= 8


def test_fast_pixels_of_a_large_jpeg_differ_by_little() -> None:
    image, to = photo(1200, 800), cropping()
    data = encoded(image, "JPEG", quality=95)
    exact, fast = (difference(data, to, plain_recipe(image, to), way) for way in ("exact", "fast"))
    assert not np.array_equal(exact, fast)
    assert fast.mean() < 1.5
    assert fast.max() <= 12


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("decode", ["fast", "exact"])
def test_an_oriented_image_gives_the_centre_of_the_upright_one(
    orientation: int, decode: str
) -> None:
    """At odd sides, a centre that is off by one pixel would differ by a step of the gradient."""
    upright, to = gradient(97, 70), cropping()
    stored = oriented(STORED[orientation](upright), orientation)
    expected = plain_recipe(Image.fromarray(upright), to)
    assert difference(stored, to, expected, decode).max() <= ROUNDING


def test_a_thread_of_an_image_takes_no_memory_for_what_is_cut_off() -> None:
    """Its whole would be a hundred times as wide as it is high."""
    pixels = decode_image(
        encoded(Image.new("RGB", (16_384, 164), "red"), "PNG"), cropping(), ANY_SIZE, "exact"
    )
    assert (pixels.array == (255, 0, 0)).all()
    assert (pixels.sent_width, pixels.sent_height) == (16_384, 164)
