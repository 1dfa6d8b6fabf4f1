"""Which part of an image becomes the model's row, in the coordinates that the decoder works in.

Only what the row needs is ever resized: an image of 16,384 x 164 pixels whose short side becomes
1024 would be 100,000 pixels wide.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from inferctl.bundles.manifest import ImageInput

Size = tuple[int, int]
Turn = Image.Transpose | None

SWAPS_SIDES = (
    Image.Transpose.TRANSPOSE,
    Image.Transpose.ROTATE_270,
    Image.Transpose.TRANSVERSE,
    Image.Transpose.ROTATE_90,
)
# Whether the stored picture's x and y run against the upright one's.
_MIRRORED: dict[Turn, tuple[bool, bool]] = {
    None: (False, False),
    Image.Transpose.FLIP_LEFT_RIGHT: (True, False),
    Image.Transpose.ROTATE_180: (True, True),
    Image.Transpose.FLIP_TOP_BOTTOM: (False, True),
    Image.Transpose.TRANSPOSE: (False, False),
    Image.Transpose.ROTATE_270: (False, True),
    Image.Transpose.TRANSVERSE: (True, True),
    Image.Transpose.ROTATE_90: (True, False),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the upright image lies in the row: `size` pixels from `corner` on, both (x, y)."""

    corner: Size
    size: Size


@dataclass(frozen=True, slots=True)
class Frame:
    """The stored image scaled to `whole`, of which `target` pixels from `offset` on are the row.

    All are (x, y) in the orientation that the image is stored in, before it is turned upright.
    """

    whole: Size
    offset: Size
    target: Size

    def box(self, size: Size) -> tuple[float, float, float, float]:
        """The part of an image of `size` that the row shows, whatever its decoder made of it."""
        (left, right), (top, bottom) = (
            (start * side / whole, min(side, (start + length) * side / whole))
            for start, length, side, whole in zip(
                self.offset, self.target, size, self.whole, strict=True
            )
        )
        return left, top, right, bottom


def frame(size: Size, to: ImageInput, turn: Turn) -> Frame:
    """Frame a stored image of `size` (width, height) that `turn` makes upright."""
    upright = _swapped(size) if turn in SWAPS_SIDES else size
    whole = _whole(upright, to)
    target = placed(upright, to).size
    offset = ((whole[0] - target[0]) // 2, (whole[1] - target[1]) // 2)
    if turn in SWAPS_SIDES:
        whole, target, offset = _swapped(whole), _swapped(target), _swapped(offset)
    x, y = (
        side - length - start if mirrored else start
        for side, length, start, mirrored in zip(
            whole, target, offset, _MIRRORED[turn], strict=True
        )
    )
    return Frame(whole, (x, y), target)


def placed(upright: Size, to: ImageInput) -> Place:
    """Where an image of `upright` size (width, height) lies in the row.

    Only a letterboxed image does not fill it. Its sides are rounded, and the odd pixel of the
    border is on the right and at the bottom, as Ultralytics and its likes have it.
    """
    if to.resize != "letterbox":
        return Place((0, 0), (to.width, to.height))
    size = _fitted(upright, to)
    return Place(((to.width - size[0]) // 2, (to.height - size[1]) // 2), size)


def _fitted(upright: Size, to: ImageInput) -> Size:
    """The largest size of the image's ratio in the row; a thread of an image keeps one pixel."""
    scale = min(to.width / upright[0], to.height / upright[1])
    width, height = (max(1, round(side * scale)) for side in upright)
    return width, height


def _whole(upright: Size, to: ImageInput) -> Size:
    """The size of the whole image, width first, of which the centre is taken."""
    if to.resize == "letterbox":
        return _fitted(upright, to)
    if to.short_side is None:
        return to.width, to.height
    if to.resize == "stretch-crop":
        return to.short_side, to.short_side
    width, height = upright
    # The longer side is cut off to a whole number, as torchvision and transformers do.
    if width <= height:
        return to.short_side, int(to.short_side * height / width)
    return int(to.short_side * width / height), to.short_side


def _swapped(pair: Size) -> Size:
    return pair[1], pair[0]
