"""Which part of an image becomes the row, seen from however the image is stored."""

from __future__ import annotations

import pytest
from PIL import Image

from inferctl.bundles.manifest import ImageInput
from inferctl.tasks.framing import SWAPS_SIDES, Frame, Place, frame, placed

STRETCH = ImageInput(height=8, width=12)
CROP = ImageInput(height=8, width=6, resize="crop", short_side=10)
LETTERBOX = ImageInput(height=8, width=12, resize="letterbox", pad=114)
SQUARE = ImageInput(height=8, width=6, resize="stretch-crop", short_side=10)


def test_stretching_takes_the_whole_image() -> None:
    framed = frame((300, 77), STRETCH, None)
    assert framed == Frame(whole=(12, 8), offset=(0, 0), target=(12, 8))
    assert framed.box((300, 77)) == (0, 0, 300, 77)


@pytest.mark.parametrize(
    ("size", "whole", "offset"),
    [
        ((40, 20), (20, 10), (7, 1)),
        ((20, 40), (10, 20), (2, 6)),
        ((30, 30), (10, 10), (2, 1)),
        ((5, 5), (10, 10), (2, 1)),
        ((39, 20), (19, 10), (6, 1)),
    ],
)
def test_cropping_keeps_the_ratio_and_takes_the_centre(
    size: tuple[int, int], whole: tuple[int, int], offset: tuple[int, int]
) -> None:
    assert frame(size, CROP, None) == Frame(whole, offset, target=(6, 8))


def test_cropping_from_a_square_does_not_keep_the_ratio() -> None:
    assert frame((400, 20), SQUARE, None) == Frame((10, 10), (2, 1), (6, 8))


def test_the_box_is_in_pixels_of_whatever_was_decoded() -> None:
    framed = frame((400, 200), CROP, None)
    assert framed.box((400, 200)) == (140, 20, 260, 180)
    assert framed.box((100, 50)) == (35, 5, 65, 45)


@pytest.mark.parametrize("turn", [None, *Image.Transpose])
def test_the_same_part_is_taken_however_the_image_is_stored(turn: Image.Transpose | None) -> None:
    """A picture whose centre cannot be halved evenly, with the row's part drawn into it."""
    upright = Image.new("L", (23, 11))
    upright.paste(255, (8, 1, 8 + 6, 1 + 8))
    to = ImageInput(height=8, width=6, resize="crop", short_side=11)
    stored = upright if turn is None else upright.transpose(undoing(turn))

    framed = frame(stored.size, to, turn)
    (x, y), (width, height) = framed.offset, framed.target
    part = stored.crop((x, y, x + width, y + height))

    assert framed.whole == stored.size
    assert part.getextrema() == (255, 255)


def undoing(turn: Image.Transpose) -> Image.Transpose:
    swapped = {
        Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
        Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    }
    return swapped.get(turn, turn)


def test_the_longest_image_s_box_lies_inside_it() -> None:
    left, top, right, bottom = frame((16_384, 1), CROP, None).box((16_384, 1))
    assert 0 <= left < right <= 16_384
    assert 0 <= top < bottom <= 1


@pytest.mark.parametrize(
    ("sent", "corner", "size"),
    [
        ((240, 160), (0, 0), (12, 8)),
        ((240, 80), (0, 2), (12, 4)),
        ((80, 160), (4, 0), (4, 8)),
        ((3, 2), (0, 0), (12, 8)),  # small images are scaled up
        ((120, 50), (0, 1), (12, 5)),  # the odd line of the border is at the bottom
        ((70, 80), (2, 0), (7, 8)),
        ((100, 56), (0, 0), (12, 7)),  # 6.72 lines
        ((16_384, 1), (0, 3), (12, 1)),
        ((1, 16_384), (5, 0), (1, 8)),
    ],
)
def test_a_letterboxed_image_lies_in_the_centre_as_large_as_it_fits(
    sent: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]
) -> None:
    assert placed(sent, LETTERBOX) == Place(corner, size)
    framed = frame(sent, LETTERBOX, None)
    assert framed == Frame(whole=size, offset=(0, 0), target=size)
    assert framed.box(sent) == (0, 0, *sent)


@pytest.mark.parametrize("turn", SWAPS_SIDES)
def test_a_letterboxed_image_that_is_stored_lying_is_fitted_standing(turn: Image.Transpose) -> None:
    framed = frame((160, 80), LETTERBOX, turn)
    assert (framed.whole, framed.target) == ((8, 4), (8, 4))


def test_any_other_image_fills_the_row() -> None:
    assert placed((400, 20), STRETCH) == Place((0, 0), (12, 8))
    assert placed((400, 20), CROP) == Place((0, 0), (6, 8))
