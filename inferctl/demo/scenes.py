"""Draws synthetic scenes of circles, squares and triangles, with the box of every one."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

LABELS = ("circle", "square", "triangle")
SIZE = 160

_CIRCLE, _SQUARE, _TRIANGLE = range(3)
# Drawing at twice the size and averaging down gives smooth edges without an anti-aliasing library.
_OVERSAMPLE = 2
_PLACEMENT_TRIES = 30
_MOST_OVERLAP = 0.3
_LEAST_CONTRAST = 70.0

Image8 = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Point = tuple[float, float]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """One picture and what is in it: n objects, drawn in order, later ones on top.

    `image` is uint8 (size, size, 3) RGB, `boxes` float32 (n, 4) xyxy in pixels, `labels` int64 (n,)
    indices into `LABELS`.
    """

    image: Image8
    boxes: Floats
    labels: npt.NDArray[np.int64]


def draw_scene(rng: np.random.Generator, size: int = SIZE) -> Scene:
    """Draw 1 to 6 objects on a noisy background; the same generator state gives the same scene."""
    background = _background(rng, size)
    canvas = Image.fromarray(background).resize((size * _OVERSAMPLE, size * _OVERSAMPLE))
    pen = ImageDraw.Draw(canvas)
    _draw_clutter(rng, pen, size)
    boxes: list[Floats] = []
    labels: list[int] = []
    for _ in range(int(rng.integers(1, 7))):
        label = int(rng.integers(len(LABELS)))
        outline, box = _place(rng, label, boxes, size)
        if box is None:
            continue
        _draw_object(pen, label, outline, box, _contrasting_colour(rng, background, box))
        boxes.append(box)
        labels.append(label)
    image = _finish(rng, canvas, size)
    return Scene(image, np.stack(boxes), np.asarray(labels, dtype=np.int64))


def scene_series(seed: int, count: int) -> list[Scene]:
    """Draw `count` scenes; scene i depends only on `seed` and i, so a longer series extends it."""
    return [draw_scene(np.random.default_rng([seed, index])) for index in range(count)]


def _background(rng: np.random.Generator, size: int) -> Image8:
    """Return a two-colour gradient in a random direction with coarse blotches, uint8 RGB."""
    angle = rng.uniform(0.0, 2.0 * math.pi)
    axis = np.linspace(-0.5, 0.5, size)
    along = np.clip(0.5 + axis[None, :] * math.cos(angle) + axis[:, None] * math.sin(angle), 0, 1)
    start, end = rng.uniform(20, 235, (2, 3))
    gradient = start + along[..., None] * (end - start)
    cells = size // 8
    blotches = rng.normal(128, rng.uniform(2, 14), (cells, cells)).clip(0, 255).astype(np.uint8)
    smooth = Image.fromarray(blotches).resize((size, size), Image.Resampling.BILINEAR)
    shade = np.asarray(smooth, dtype=np.float64)[..., None] - 128.0
    shaded: Image8 = (gradient + shade).clip(0, 255).astype(np.uint8)
    return shaded


def _draw_clutter(rng: np.random.Generator, pen: ImageDraw.ImageDraw, size: int) -> None:
    for _ in range(int(rng.integers(0, 9))):
        x0, y0, x1, y1 = (rng.uniform(0, size, 4) * _OVERSAMPLE).tolist()
        red, green, blue = rng.integers(0, 256, 3).tolist()
        pen.line((x0, y0, x1, y1), fill=(red, green, blue), width=int(rng.integers(1, 5)))


def _place(
    rng: np.random.Generator, label: int, taken: list[Floats], size: int
) -> tuple[list[Point], Floats | None]:
    """Find an outline whose box hides little of those already drawn; a box of None means no room.

    A mostly hidden object would be a box that no model can see, which is noise in the labels.
    """
    for _ in range(_PLACEMENT_TRIES):
        radius = size * math.exp(rng.uniform(math.log(0.05), math.log(0.2)))
        x, y = rng.uniform(radius + 1, size - radius - 1, 2).tolist()
        outline = _outline(rng, label, (x, y), radius)
        box = _bounds(label, outline, (x, y), radius)
        if all(_overlap(box, other) <= _MOST_OVERLAP for other in taken):
            return outline, box
    return [], None


def _outline(rng: np.random.Generator, label: int, centre: Point, radius: float) -> list[Point]:
    """Return the corners of a polygon in pixels; a circle has none."""
    if label == _CIRCLE:
        return []
    corners = 4 if label == _SQUARE else 3
    wobble = 0.0 if label == _SQUARE else 0.2
    turn = rng.uniform(0.0, 2.0 * math.pi)
    angles = (
        turn + np.arange(corners) * 2.0 * math.pi / corners + rng.uniform(-wobble, wobble, corners)
    )
    return [(centre[0] + radius * math.cos(a), centre[1] + radius * math.sin(a)) for a in angles]


def _bounds(label: int, outline: list[Point], centre: Point, radius: float) -> Floats:
    if label == _CIRCLE:
        x, y = centre
        return np.array([x - radius, y - radius, x + radius, y + radius], dtype=np.float32)
    points = np.array(outline, dtype=np.float32)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _overlap(box: Floats, other: Floats) -> float:
    """Return the shared area as a part of the smaller box."""
    width, height = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    if width <= 0 or height <= 0:
        return 0.0
    smaller = min(float(np.prod(b[2:] - b[:2])) for b in (box, other))
    return float(width * height) / smaller


def _contrasting_colour(rng: np.random.Generator, background: Image8, box: Floats) -> Colour:
    """Pick a colour that differs from the background under the box."""
    left, top, right, bottom = (int(edge) for edge in box)
    under = background[top : bottom + 1, left : right + 1].reshape(-1, 3).mean(axis=0)
    while True:
        red, green, blue = rng.integers(0, 256, 3).tolist()
        if math.dist((red, green, blue), under.tolist()) >= _LEAST_CONTRAST:
            return red, green, blue


def _draw_object(
    pen: ImageDraw.ImageDraw, label: int, outline: list[Point], box: Floats, colour: Colour
) -> None:
    if label == _CIRCLE:
        left, top, right, bottom = (box * _OVERSAMPLE).tolist()
        pen.ellipse((left, top, right, bottom), fill=colour)
    else:
        pen.polygon([(x * _OVERSAMPLE, y * _OVERSAMPLE) for x, y in outline], fill=colour)


def _finish(rng: np.random.Generator, canvas: Image.Image, size: int) -> Image8:
    """Scale down, blur and add sensor noise."""
    small = canvas.resize((size, size), Image.Resampling.BOX)
    blurred = small.filter(ImageFilter.GaussianBlur(rng.uniform(0.0, 1.2)))
    noise = rng.normal(0.0, rng.uniform(1.0, 14.0), (size, size, 3))
    return (np.asarray(blurred, dtype=np.float64) + noise).clip(0, 255).astype(np.uint8)
