"""Durations are read, and bodies are what a model of the task takes."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inferctl.bench import plan
from inferctl.bench.plan import check_data, parse_duration, write_bodies
from inferctl.bench.synthetic import HEIGHT, PICTURES, SENTENCES, WIDTH
from inferctl.errors import UsageError


def bodies(file: Path) -> list[Any]:
    """The bodies that were written."""
    return [json.loads(line) for line in file.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10.0), ("1m30s", 90.0), ("2h", 7200.0), ("1h1m1s", 3661.0), ("7", 7.0), ("2.5s", 2.5)],
)
def test_durations(text: str, seconds: float) -> None:
    """Hours, minutes and seconds, each at most once."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "ten", "10x", "-5s", "500ms", "1s2m"])
def test_what_is_no_duration(text: str) -> None:
    """Refused with an example of one."""
    with pytest.raises(UsageError, match="write 10s"):
        parse_duration(text)


def test_made_up_pictures_are_varied_jpegs(tmp_path: Path) -> None:
    """The size is right, no two are equal, and a second run sends the same bytes."""
    file = tmp_path / "bodies"
    inputs = write_bodies("image-detection", {}, None, file)
    jpegs = [base64.b64decode(body["image_b64"]) for body in bodies(file)]
    assert inputs.count == inputs.available == len(set(jpegs)) == PICTURES
    with Image.open(io.BytesIO(jpegs[0])) as image:
        assert (image.format, image.size) == ("JPEG", (WIDTH, HEIGHT))
    plan.pictures.cache_clear()
    write_bodies("image-classification", {}, None, again := tmp_path / "again")
    assert again.read_bytes() == file.read_bytes()


def test_built_in_sentences(tmp_path: Path) -> None:
    """One body per sentence, within the default limit of a text model."""
    inputs = write_bodies("text-classification", {}, None, tmp_path / "bodies")
    assert [body["text"] for body in bodies(tmp_path / "bodies")] == list(SENTENCES)
    assert inputs.source == "made up"
    assert max(map(len, SENTENCES)) <= 2000


def test_other_tasks_get_the_server_s_example(tmp_path: Path) -> None:
    """A tensor model: only the server knows its shapes."""
    inputs = write_bodies("tensor", {"inputs": [1]}, None, tmp_path / "bodies")
    assert bodies(tmp_path / "bodies") == [{"inputs": [1]}]
    assert inputs.source == "the server's example"
    with pytest.raises(UsageError, match="does not fit the task tensor"):
        write_bodies("tensor", {}, tmp_path, tmp_path / "bodies")


def test_a_folder_of_images_is_sent_as_it_is(tmp_path: Path) -> None:
    """Sub-folders too, in the order of their names; other files are left alone."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.JPG").write_bytes(b"two")
    (tmp_path / "a.webp").write_bytes(b"one")
    (tmp_path / "sub" / "c.png").write_bytes(b"three")
    (tmp_path / "labels.txt").write_text("no image")
    inputs = write_bodies("image-detection", {}, tmp_path, tmp_path / "bodies")
    images = [base64.b64decode(body["image_b64"]) for body in bodies(tmp_path / "bodies")]
    assert images == [b"one", b"two", b"three"]
    assert inputs.source == str(tmp_path)


def test_a_file_of_texts_gives_a_body_per_line(tmp_path: Path) -> None:
    """Empty lines are no texts."""
    texts = tmp_path / "texts.txt"
    texts.write_text("eins\n\n  zwei  \nünf\n", encoding="utf-8")
    write_bodies("text-classification", {}, texts, tmp_path / "bodies")
    assert [body["text"] for body in bodies(tmp_path / "bodies")] == ["eins", "zwei", "ünf"]


def test_many_inputs_are_thinned_out_evenly(tmp_path: Path) -> None:
    """1000 lines: every fourth, so that the end of the file is sent too."""
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(map(str, range(1000))))
    inputs = write_bodies("text-classification", {}, texts, tmp_path / "bodies")
    assert (inputs.count, inputs.available) == (250, 1000)
    assert [body["text"] for body in bodies(tmp_path / "bodies")][-1] == "996"


def test_bodies_stay_under_the_byte_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing stops at the body that reaches the limit."""
    monkeypatch.setattr(plan, "MAX_BYTES", 1)
    assert write_bodies("text-classification", {}, None, tmp_path / "bodies").count == 1


def test_data_that_does_not_fit(tmp_path: Path) -> None:
    """Each mistake has its own sentence."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "a.jpg").symlink_to(tmp_path / "gone")
    out = tmp_path / "bodies"
    for task, data, sentence in (
        ("image-detection", "blank.txt", "needs a folder of images"),
        ("image-detection", "empty", "no .jpg, .png or .webp"),
        ("image-detection", "dangling", "cannot read an image"),
        ("text-classification", "empty", "needs a file with one text per line"),
        ("text-classification", "blank.txt", "no text in this file"),
        ("text-classification", "binary.txt", "cannot read the texts"),
    ):
        with pytest.raises(UsageError, match=sentence):
            write_bodies(task, {}, tmp_path / data, out)
    with pytest.raises(UsageError, match="no such folder"):
        check_data(tmp_path / "absent")
