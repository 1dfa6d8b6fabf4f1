"""What a value is sent as."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inferctl.client import InvalidInput
from inferctl.client.inputs import document, is_picture, picture

RED = (200, 10, 30)


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_a_str_is_a_text_even_if_a_file_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").touch()
    assert not is_picture(str(tmp_path / "cat.jpg"))
    assert json.loads(document("cat.jpg", {"top_k": 1})) == {"text": "cat.jpg", "top_k": 1}


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"\x89PNG....", "image/png"),
        (b"RIFF....WEBP", "image/webp"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"anything", "image/jpeg"),
    ],
)
def test_bytes_and_files_are_sent_as_they_are(
    data: bytes, content_type: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    for x in (data, file):
        assert is_picture(x)
        assert picture(x) == (data, content_type)


def test_pixels_lose_nothing() -> None:
    array = np.random.default_rng(1).integers(0, 256, (7, 5, 3), np.uint8)
    turned = array.transpose(1, 0, 2)
    for x, expected in ((array, array), (turned, turned), (Image.fromarray(array), array)):
        assert is_picture(x)
        data, content_type = picture(x)
        assert content_type == "image/png"
        assert (pixels(data) == expected).all()


def test_an_image_that_png_does_not_know_becomes_rgb() -> None:
    data, _ = picture(Image.new("CMYK", (2, 2)))
    assert pixels(data).shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("x", "inputs"),
    [
        (np.array([[1, 2]], np.float32), [[1.0, 2.0]]),
        (np.arange(4).reshape(2, 2).T, [[0, 2], [1, 3]]),
        ({"a": np.float32([1.5]), "b": [1, 2]}, {"a": [1.5], "b": [1, 2]}),
        (np.zeros((1, 1, 3), np.float32), [[[0.0, 0.0, 0.0]]]),
    ],
)
def test_other_arrays_and_mappings_are_tensors(x: Any, inputs: Any) -> None:
    assert not is_picture(x)
    assert json.loads(document(x, {})) == {"inputs": inputs}


@pytest.mark.parametrize("x", [None, 3, ["a", "b"], {"a": object()}, "\ud800"])
def test_what_cannot_be_sent_is_refused(x: Any) -> None:
    with pytest.raises(InvalidInput):
        document(x, {})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no\.jpg: No such file"):
        picture(tmp_path / "no.jpg")
    with pytest.raises(InvalidInput, match=r"cannot read 'a.x00b': embedded null"):
        picture(Path("a\0b"))


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be encoded"):
        picture(np.zeros((0, 0, 3), np.uint8))
