"""Pictures of a folder, as the server would decode them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inferctl.bundles.manifest import ImageInput
from inferctl.errors import UsageError
from inferctl.export.pictures import decode_file, picture_files, picture_samples, spread

INPUT = ImageInput(height=4, width=6)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven grey pictures, one of them in a folder inside, and a note."""
    (tmp_path / "more").mkdir()
    for number in range(11):
        place = tmp_path / "more" if number == 10 else tmp_path
        Image.new("RGB", (30, 20), (number, number, number)).save(place / f"{number:02}.PNG")
    (tmp_path / "notes.md").write_text("no picture")
    return tmp_path


def test_pictures_are_found_in_order_in_all_folders(folder: Path) -> None:
    names = [path.name for path in picture_files(folder, "--data")]
    assert names == [f"{number:02}.PNG" for number in range(11)]


def test_pictures_come_in_batches_named_by_their_files(folder: Path) -> None:
    first, last = picture_samples(picture_files(folder, "--data"), INPUT)
    assert (first.name, first.rows) == ("00.PNG to 07.PNG", 8)
    assert (last.name, last.rows) == ("08.PNG to 10.PNG", 3)
    assert first.feeds["image"].shape == (8, 4, 6, 3)
    assert [int(picture.max()) for picture in first.feeds["image"]] == list(range(8))


def test_a_batch_of_one_has_its_files_name(folder: Path) -> None:
    (only,) = picture_samples([folder / "03.PNG"], INPUT)
    assert (only.name, only.feeds["image"].dtype) == ("03.PNG", np.uint8)


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read it: No such file.*gone\.png"):
        decode_file(tmp_path / "gone.png", INPUT)


def test_a_missing_folder_and_one_without_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such folder .--data"):
        picture_files(tmp_path / "absent", "--data")
    with pytest.raises(UsageError, match="holds no pictures"):
        picture_files(tmp_path, "--data")


@pytest.mark.parametrize(
    ("count", "kept"), [(2, [0, 5]), (10, list(range(10))), (99, list(range(10)))]
)
def test_some_are_taken_evenly_from_all(count: int, kept: list[int]) -> None:
    files = [Path(str(number)) for number in range(10)]
    assert [int(path.name) for path in spread(files, count)] == kept
