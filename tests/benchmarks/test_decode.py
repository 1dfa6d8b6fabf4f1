"""Comparing two ways of decoding."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.bodies import SEED, photos
from benchmarks.decode import (
    MOSAIC_SIZE,
    Files,
    accuracy_sheet,
    decoding_sheet,
    difference,
    encode,
    medians,
    mosaic,
    reading_sheet,
    scenes,
    share,
)


@pytest.fixture(scope="module")
def photo() -> bytes:
    return photos(1, SEED)[0]


def test_both_modes_give_the_same_pixels_of_a_png_and_others_of_a_jpeg(photo: bytes) -> None:
    png = encode(Image.open(io.BytesIO(photo)), "PNG")
    sheet = decoding_sheet([Files("a JPEG", [photo]), Files("a PNG", [png])], rounds=1)

    lossy, exact = ((float(row[-2]), int(row[-1])) for row in sheet.rows)
    assert [row[0] for row in sheet.rows] == ["a JPEG", "a PNG"]
    assert exact == (0.0, 0)
    assert 0 < lossy[0] < 3 < lossy[1]


def test_a_difference_does_not_wrap_around() -> None:
    assert difference(np.array([0, 10], np.uint8), np.array([255, 10], np.uint8)) == (127.5, 255)


def test_a_mosaic_is_as_large_as_it_says_and_keeps_the_detail(photo: bytes) -> None:
    made = mosaic([photo] * 9)

    assert Image.open(io.BytesIO(made)).size == MOSAIC_SIZE
    assert len(made) > 6 * len(photo)


def test_reading_has_a_row_for_each_way() -> None:
    sheet = reading_sheet(encoded_bytes=3000, rounds=1)

    assert "4 KB" in sheet.title
    assert [row[0].split(":")[0] for row in sheet.rows] == ["base64", "base64", "JSON", "JSON"]
    assert all(float(took) > 0 for _, took in sheet.rows)


def test_contenders_take_turns_at_being_first() -> None:
    calls: list[str] = []
    medians({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)

    assert "".join(calls) == "ab" + "ab" + "ba"


def test_the_detector_finds_larger_scenes_where_they_are() -> None:
    drawn = scenes(8, side=320)  # of fewer, a class may be missing: a precision of 0
    sheet = accuracy_sheet(drawn, side=320)

    exact, fast = sheet.rows
    assert (exact[0], *exact[-2:]) == ("exact", "8 of 8", "0.00 / 0")
    assert float(exact[1]) > 0.9
    assert fast[0] == "fast"
    assert fast[-1] != exact[-1]


def test_a_share_counts_those_that_agree() -> None:
    assert share([[1], [2, 2], []], [[1], [2], []]) == "2 of 3"
