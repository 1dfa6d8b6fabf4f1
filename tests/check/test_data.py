"""A person's own pictures and texts."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from inferctl.check import CheckRequest, check_bundle
from inferctl.check.data import real_samples
from inferctl.check.opened import open_for_check
from inferctl.errors import UsageError
from inferctl.export import ExportResult

from ..graphs import image_fields, image_graph, write_bundle

Published = dict[str, ExportResult]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "first.txt").write_text("the film was long\n\nnot bad\n")
    (tmp_path / "second.txt").write_text("food\n")
    return tmp_path


def test_real_texts_are_run_each_alone_and_unpadded(published: Published, texts: Path) -> None:
    report = check_bundle(CheckRequest(published["text-factory"].path, texts))
    by_name = {line.name: line for line in report.lines}
    assert report.failed == ()
    assert by_name["real data"].detail.startswith("3 rows answered")
    assert {"real data, each row alone", "real data, each row unpadded"} <= set(by_name)


def test_texts_are_the_lines_that_are_not_empty(published: Published, texts: Path) -> None:
    result = published["text-factory"]
    (batch,) = real_samples(open_for_check(result.path), texts)
    assert batch.name == "second.txt line 1 and 2 more texts"
    assert batch.feeds["attention_mask"].sum(axis=1).tolist() == [1, 2, 4]
    assert batch.tokens == 4


def test_real_pictures_are_named_by_their_files(published: Published, tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg"):
        Image.new("RGB", (50, 40), "red").save(tmp_path / name)
    report = check_bundle(CheckRequest(published["image-detection"].path, tmp_path))
    assert report.failed == ()
    assert {line.name: line.count for line in report.lines}["real data"] == 1
    result = published["image-detection"]
    (batch,) = real_samples(open_for_check(result.path), tmp_path)
    assert batch.name == "a.png to b.jpg"


@pytest.mark.parametrize(
    ("task", "content", "text"),
    [
        ("text-factory", None, "no such folder"),
        ("text-factory", {}, "the folder holds no texts"),
        ("text-factory", {"a.txt": b"\xff"}, "cannot read it"),
        (
            "text-factory",
            {"a.txt": b"good\na\0b\n"},
            r"NUL character \(a.txt line 2\); take it out",
        ),
        ("text-factory", {"a.txt": b"bad " * 2500}, r"more than 8192 characters \(a.txt line 1\)"),
        ("image-detection", {"a.txt": b"x"}, "the folder holds no pictures"),
        ("image-detection", {"a.png": b"x"}, r"not JPEG, PNG or WebP.*a\.png"),
    ],
)
def test_data_that_cannot_be_sent_is_named(
    published: Published, tmp_path: Path, task: str, content: dict[str, bytes] | None, text: str
) -> None:
    folder = tmp_path / "data"
    if content is not None:
        folder.mkdir()
        for name, data in content.items():
            (folder / name).write_bytes(data)
    with pytest.raises(UsageError, match=text):
        check_bundle(CheckRequest(published[task].path, folder))


def test_bare_tensors_have_no_files(tmp_path: Path) -> None:
    fields = image_fields(task="tensor", labels=[], image=None)
    write_bundle(tmp_path / "1", image_graph(), fields)
    with pytest.raises(UsageError, match="only pictures and texts can be given"):
        check_bundle(CheckRequest(tmp_path / "1", tmp_path))
