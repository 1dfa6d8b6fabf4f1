"""What arguments mean, in which order, and what each input is called."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from inferctl.errors import UsageError
from inferctl.predict.inputs import Inputs, Named

IMAGES, TEXTS = "image-detection", "text-classification"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images and another file, below each other."""
    (tmp_path / "sub").mkdir()
    for name in ("b.JPG", "sub/a.png", "notes.md"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_its_images_by_name(folder: Path) -> None:
    inputs = Inputs([str(folder)], IMAGES)
    paths = [folder / "b.JPG", folder / "sub" / "a.png"]
    assert list(inputs) == [Named(str(path), path) for path in paths]
    assert inputs.total() == 2


def test_a_file_is_an_image_whatever_its_name(folder: Path) -> None:
    path = folder / "notes.md"
    assert list(Inputs([str(path)], IMAGES)) == [Named(str(path), path)]


def test_a_text_file_is_its_lines_with_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "texts"
    path.write_bytes(b"one\n\n  two \n\xff\n")
    inputs = Inputs([str(path)], TEXTS)
    assert list(inputs) == [
        Named(f"{path}:1", "one"),
        Named(f"{path}:3", "two"),
        Named(f"{path}:4", "\udcff"),
    ]
    assert inputs.total() == 3


def test_standard_input_holds_texts_or_names_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a b\n"))
    assert list(Inputs(["-"], TEXTS)) == [Named("-:1", "a b")]
    monkeypatch.setattr("sys.stdin", io.StringIO("a b.jpg\n"))
    assert list(Inputs(["-"], IMAGES)) == [Named("a b.jpg", Path("a b.jpg"))]
    assert Inputs(["-"], IMAGES).total() is None


@pytest.mark.parametrize(
    ("name", "task", "message"),
    [
        ("missing", IMAGES, "no such file or folder"),
        ("sub/a.png", TEXTS, "takes texts"),
        ("sub", TEXTS, "takes texts"),
        ("empty", IMAGES, "no .jpg, .png or .webp"),
        ("t.txt", IMAGES, "takes images"),
        ("t.txt", "tensor", "its task is tensor"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    folder: Path, name: str, task: str, message: str
) -> None:
    (folder / "empty").mkdir()
    (folder / "t.txt").touch()
    with pytest.raises(UsageError, match=message):
        Inputs([str(folder / name)], task)


@pytest.mark.parametrize("task", [IMAGES, TEXTS])
def test_a_name_that_is_too_long_is_one_line(task: str) -> None:
    with pytest.raises(UsageError, match="cannot be read: File name too long"):
        Inputs(["a" * 300], task)


def test_a_text_file_that_cannot_be_read_is_one_line() -> None:
    # Not even root may read this.
    inputs = Inputs(["/proc/self/mem"], TEXTS)
    with pytest.raises(UsageError, match="cannot be read"):
        inputs.total()
    with pytest.raises(UsageError, match="cannot be read"):
        list(inputs)
