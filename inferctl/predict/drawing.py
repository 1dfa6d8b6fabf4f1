"""Detections drawn into their image: boxes with label and confidence, readable on any ground."""

from __future__ import annotations

import zlib
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from inferctl.client import Detection, Detections
from inferctl.errors import OutputError

Size = tuple[int, int]
Sides = tuple[float, float, float, float]

# Light, so that they show on dark grounds; on light ones their black edge does. A label has the
# same colour in every image.
COLOURS = ("#ffb000", "#66ccff", "#4ee0a0", "#fff04d", "#ff9ad5", "#ff8c5a", "#c3a6ff", "#ffffff")
EDGE = INK = "black"
# Sizes follow the image's longer side.
LINE_SHARE, TEXT_SHARE = 1 / 300, 1 / 45
LEAST_TEXT = 12
MARGIN = 2
# A smaller image is enlarged: its labels would hide it.
LEAST_SIDE = 480


class Gallery:
    """A folder of drawn images, each with its own name."""

    def __init__(self, folder: Path) -> None:
        """Make the folder. Raises OutputError."""
        self._folder = folder
        self._names: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _failed(folder, error) from None

    def add(self, image: Path, found: Detections) -> Path:
        """Draw into a copy of the image, as PNG. Returns its path; raises OutputError."""
        path = self._folder / self._name(image.stem)
        try:
            with Image.open(image) as opened:
                # Boxes are those of the upright image.
                drawn = draw_detections(ImageOps.exif_transpose(opened), found)
            drawn.save(path)
        except OSError as error:
            raise _failed(path, error) from None
        return path

    def _name(self, stem: str) -> str:
        """Images of the same name, from other folders, are numbered."""
        name, number = f"{stem}.png", 1
        while name in self._names:
            number += 1
            name = f"{stem}-{number}.png"
        self._names.add(name)
        return name


def draw_detections(image: Image.Image, found: Detections) -> Image.Image:
    """A copy of the image with the boxes in it, the most confident over the others."""
    scale = max(1, -(-LEAST_SIDE // max(image.size)))
    canvas = image.convert("RGB").resize((image.width * scale, image.height * scale))
    pen = ImageDraw.Draw(canvas)
    longer = max(canvas.size)
    line = max(2, round(longer * LINE_SHARE))
    font = ImageFont.load_default(max(LEAST_TEXT, longer * TEXT_SHARE))
    boxes = [
        (detection, _inside(detection, scale, canvas.size))
        for detection in reversed(found.detections)
    ]
    for detection, box in boxes:
        _draw_box(pen, box, line, colour_of(detection.label))
    for detection, box in boxes:
        _draw_label(pen, box, canvas.size, font, detection)
    return canvas


def colour_of(label: str) -> str:
    """The label's colour."""
    return COLOURS[zlib.crc32(label.encode()) % len(COLOURS)]


def _draw_box(pen: ImageDraw.ImageDraw, box: Sides, line: int, colour: str) -> None:
    """A coloured line with a dark edge on both of its sides."""
    x1, y1, x2, y2 = box
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=EDGE, width=line + 2)
    pen.rectangle(box, outline=colour, width=line)


def _draw_label(
    pen: ImageDraw.ImageDraw,
    box: Sides,
    size: Size,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    detection: Detection,
) -> None:
    """Label and confidence on a plate of their own, above the box or inside where no room is."""
    text = f"{detection.label} {detection.confidence:.2f}"
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    width, height = right - left + 2 * MARGIN, bottom - top + 2 * MARGIN
    x = max(0, min(box[0], size[0] - width - 1))
    y = box[1] - height if box[1] >= height else box[1]
    pen.rectangle((x, y, x + width, y + height), colour_of(detection.label), EDGE)
    pen.text((x + MARGIN - left, y + MARGIN - top), text, INK, font)


def _inside(detection: Detection, scale: int, size: Size) -> Sides:
    """The part of a box that the image shows; a model may see more of a thing than that."""
    x1, x2 = sorted(min(max(side * scale, 0), size[0] - 1) for side in detection.bbox[::2])
    y1, y2 = sorted(min(max(side * scale, 0), size[1] - 1) for side in detection.bbox[1::2])
    return x1, y1, x2, y2


def _failed(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write a drawing: {error.strerror or error}",
        where=str(path),
        hint="choose another folder with --draw",
    )
