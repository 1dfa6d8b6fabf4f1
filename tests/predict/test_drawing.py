"""Boxes that can be seen on any ground, where the detections are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from inferctl.client import Detection, Detections
from inferctl.errors import OutputError
from inferctl.predict.drawing import Gallery, colour_of, draw_detections

Box = tuple[float, float, float, float]


def found(*boxes: Box) -> Detections:
    return Detections(
        model="m", version=1, inference_ms=0, latency_ms=0, request_id="",
        detections=tuple(Detection("cat", 0.9, box) for box in boxes),
    )  # fmt: skip


@pytest.mark.parametrize("ground", ["white", "black", "grey", colour_of("cat")])
def test_a_line_differs_from_every_ground(ground: str) -> None:
    image = Image.new("RGB", (600, 400), ground)
    row = np.asarray(draw_detections(image, found((100, 100, 300, 300))), int)[200]
    near = row[95:110]
    assert np.ptp(near.sum(axis=1)) > 250
    assert (row[200] == ImageColor.getrgb(ground)).all()


def test_the_label_stands_above_its_box() -> None:
    image = Image.new("RGB", (600, 400), "grey")
    drawn = np.asarray(draw_detections(image, found((100, 100, 300, 300))))
    plate = (drawn[:98] == ImageColor.getrgb(colour_of("cat"))).all(axis=2)
    assert plate.sum() > 200


def test_what_reaches_over_the_edge_is_drawn_at_the_edge() -> None:
    image = Image.new("RGB", (600, 400), "grey")
    drawn = draw_detections(image, found((-50, -50, 700, 500)))
    assert drawn.getpixel((0, 200)) == ImageColor.getrgb(colour_of("cat"))


def test_a_small_image_is_enlarged_with_its_boxes() -> None:
    drawn = draw_detections(Image.new("L", (100, 50)), found((10, 10, 40, 40)))
    assert drawn.size == (500, 250)
    assert drawn.getpixel((50, 100)) == ImageColor.getrgb(colour_of("cat"))


def test_an_image_that_lies_on_its_side_is_drawn_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (600, 400)).save(tmp_path / "side.jpg", exif=exif)
    path = Gallery(tmp_path / "drawn").add(tmp_path / "side.jpg", found())
    with Image.open(path) as drawn:
        assert drawn.size == (400, 600)


def test_images_of_the_same_name_do_not_overwrite_each_other(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "new" / "drawn")
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (500, 500)).save(tmp_path / folder / "x.jpg")
        paths.append(gallery.add(tmp_path / folder / "x.jpg", found()).name)
    assert paths == ["x.png", "x-2.png"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write a drawing"):
        Gallery(tmp_path / "file" / "drawn")
