"""Bodies are what a model of the task takes, in every dialect."""

from __future__ import annotations

import base64
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inferctl.bench import bodies as module
from inferctl.bench.bodies import path_of, write_bodies
from inferctl.bench.plan import Dialect, Inputs, Source
from inferctl.bench.synthetic import HEIGHT, PICTURES, SENTENCES, WIDTH, pictures
from inferctl.bench.target import Metadata, Served, Target, Tensor
from inferctl.errors import UsageError


def target(task: str, example: dict[str, Any] | None = None) -> Target:
    """A model that nobody asks."""
    return Target("http://h", Served(name="m", version=1, task=task, example=example or {}))


def messages(folder: Path) -> list[tuple[dict[str, str], bytes]]:
    """Headers and body of each that was written."""
    found = []
    for file in sorted(folder.iterdir()):
        head, _, body = file.read_bytes().partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        found.append((dict(line.split(": ") for line in lines), body))
    return found


def bodies(folder: Path) -> list[Any]:
    """The JSON bodies that were written."""
    assert all(headers == {"Content-Type": "application/json"} for headers, _ in messages(folder))
    return [json.loads(body) for _, body in messages(folder)]


def write(task: str, data: Path | None, folder: Path) -> Inputs:
    """Native bodies."""
    return write_bodies(target(task), Source(data), folder)


def test_made_up_pictures_are_varied_jpegs(tmp_path: Path) -> None:
    """The size is right, no two are equal, and a second run sends the same bytes."""
    file = tmp_path / "bodies"
    inputs = write("image-detection", None, file)
    jpegs = [base64.b64decode(body["image_b64"]) for body in bodies(file)]
    assert inputs.count == inputs.available == len(set(jpegs)) == PICTURES
    with Image.open(io.BytesIO(jpegs[0])) as image:
        assert (image.format, image.size) == ("JPEG", (WIDTH, HEIGHT))
    pictures.cache_clear()
    write("image-classification", None, tmp_path / "again")
    assert messages(tmp_path / "again") == messages(file)


def test_built_in_sentences(tmp_path: Path) -> None:
    """One body per sentence, within the default limit of a text model."""
    inputs = write("text-classification", None, tmp_path / "bodies")
    assert [body["text"] for body in bodies(tmp_path / "bodies")] == list(SENTENCES)
    assert inputs.source == "made up"
    assert max(map(len, SENTENCES)) <= 2000


def test_other_tasks_get_the_server_s_example(tmp_path: Path) -> None:
    """A tensor model: only the server knows its shapes."""
    inputs = write_bodies(target("tensor", {"inputs": [1]}), Source(), tmp_path / "bodies")
    assert bodies(tmp_path / "bodies") == [{"inputs": [1]}]
    assert inputs.source == "the server's example"
    with pytest.raises(UsageError, match="does not fit the task tensor"):
        write("tensor", tmp_path, tmp_path / "other")


def test_a_folder_of_images_is_sent_as_it_is(tmp_path: Path) -> None:
    """Sub-folders too, in the order of their names; other files are left alone."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.JPG").write_bytes(b"two")
    (tmp_path / "a.webp").write_bytes(b"one")
    (tmp_path / "sub" / "c.png").write_bytes(b"three")
    (tmp_path / "labels.txt").write_text("no image")
    inputs = write("image-detection", tmp_path, tmp_path / "bodies")
    images = [base64.b64decode(body["image_b64"]) for body in bodies(tmp_path / "bodies")]
    assert images == [b"one", b"two", b"three"]
    assert inputs.source == str(tmp_path)


def test_a_file_of_texts_gives_a_body_per_line(tmp_path: Path) -> None:
    """Empty lines are no texts."""
    texts = tmp_path / "texts.txt"
    texts.write_text("eins\n\n  zwei  \nünf\n", encoding="utf-8")
    write("text-classification", texts, tmp_path / "bodies")
    assert [body["text"] for body in bodies(tmp_path / "bodies")] == ["eins", "zwei", "ünf"]


def test_many_inputs_are_thinned_out_evenly(tmp_path: Path) -> None:
    """1000 lines: every fourth, so that the end of the file is sent too."""
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(map(str, range(1000))))
    inputs = write("text-classification", texts, tmp_path / "bodies")
    assert (inputs.count, inputs.available) == (250, 1000)
    assert [body["text"] for body in bodies(tmp_path / "bodies")][-1] == "996"


def test_bodies_stay_under_the_byte_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing stops at the body that reaches the limit."""
    monkeypatch.setattr(module, "MAX_BYTES", 1)
    assert write("text-classification", None, tmp_path / "bodies").count == 1


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
            write(task, tmp_path / data, out)


def test_made_up_inputs_of_a_size(tmp_path: Path) -> None:
    """Pictures so large, texts so long."""
    write_bodies(target("image-detection"), Source(size_pixels=(64, 48)), tmp_path / "a")
    jpeg = base64.b64decode(bodies(tmp_path / "a")[0]["image_b64"])
    with Image.open(io.BytesIO(jpeg)) as image:
        assert image.size == (64, 48)
    write_bodies(target("text-classification"), Source(words=40), tmp_path / "b")
    texts = [body["text"] for body in bodies(tmp_path / "b")]
    assert {len(text.split()) for text in texts} == {40}
    assert len(set(texts)) == len(SENTENCES)


def test_raw_bodies_are_the_inputs_as_they_are(tmp_path: Path) -> None:
    """Each with its media type."""
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.png", "c.webp"):
        (tmp_path / "images" / name).write_bytes(name.encode())
    write_bodies(
        target("image-detection"), Source(tmp_path / "images", "raw"), tmp_path / "image-bodies"
    )
    assert messages(tmp_path / "image-bodies") == [
        ({"Content-Type": "image/jpeg"}, b"a.jpg"),
        ({"Content-Type": "image/png"}, b"b.png"),
        ({"Content-Type": "image/webp"}, b"c.webp"),
    ]
    (tmp_path / "texts").write_text("ünf")
    write_bodies(target("text-classification"), Source(tmp_path / "texts", "raw"), tmp_path / "t")
    plain = {"Content-Type": "text/plain; charset=utf-8"}
    assert messages(tmp_path / "t") == [(plain, "ünf".encode())]


@pytest.mark.parametrize(
    ("task", "name"), [("image-detection", "image"), ("text-classification", "text")]
)
def test_v2_takes_inputs_as_they_are_too(tmp_path: Path, task: str, name: str) -> None:
    """One element of BYTES: in binary behind its length, in JSON in base64 or as it is."""
    write_bodies(target(task), Source(), tmp_path / "native")
    inputs = write_bodies(target(task), Source(dialect="v2"), tmp_path / "binary")
    assert (inputs.dialect, inputs.path) == ("v2", "/v2/models/m/infer")
    write_bodies(target(task), Source(dialect="v2-json"), tmp_path / "json")
    sent = next(iter(bodies(tmp_path / "native")[0].values()))
    raw = base64.b64decode(sent) if name == "image" else sent.encode()
    headers, body = messages(tmp_path / "binary")[0]
    head = int(headers["Inference-Header-Content-Length"])
    described = json.loads(body[:head])["inputs"][0]
    assert (described["name"], described["shape"], described["datatype"]) == (name, [1], "BYTES")
    assert described["parameters"]["binary_data_size"] == len(body) - head == len(raw) + 4
    assert body[head:] == struct.pack("<I", len(raw)) + raw
    assert bodies(tmp_path / "json")[0]["inputs"][0]["data"] == [sent]


@pytest.mark.parametrize("dialect", ["v2", "v2-json"])
def test_tensors_are_made_up_as_the_graph_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: Dialect
) -> None:
    """One row each; 16 where any length goes; no two alike."""
    tensors = [
        Tensor(name="x", datatype="FP32", shape=[-1, 3]),
        Tensor(name="ids", datatype="INT64", shape=[-1, -1]),
    ]
    monkeypatch.setattr(module, "metadata", lambda _: Metadata(inputs=tensors))
    inputs = write_bodies(target("tensor"), Source(dialect=dialect), tmp_path / "bodies")
    assert inputs.count == len({body for _, body in messages(tmp_path / "bodies")}) == 16
    headers, body = messages(tmp_path / "bodies")[0]
    head = int(headers.get("Inference-Header-Content-Length", len(body)))
    described = json.loads(body[:head])["inputs"]
    assert [(one["name"], one["shape"]) for one in described] == [("x", [1, 3]), ("ids", [1, 16])]
    if dialect == "v2":
        x, ids = np.frombuffer(body, "<f4", 3, head), np.frombuffer(body, "<i8", 16, head + 12)
    else:
        x, ids = (np.array(one["data"]) for one in described)
    assert np.abs(x).max() < 5
    assert set(ids) <= {0, 1}


def test_where_each_dialect_goes() -> None:
    """The protocol has a path of its own."""
    paths = {dialect: path_of(target("tensor"), dialect) for dialect in ("native", "raw", "v2")}
    assert paths == {
        "native": "/models/m/predict", "raw": "/models/m/predict", "v2": "/v2/models/m/infer",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("task", "source", "sentence"),
    [
        ("tensor", Source(dialect="raw"), "a tensor has no raw body; take --dialect v2"),
        ("tensor", Source(words=3), "--words does not fit"),
        ("text-classification", Source(size_pixels=(2, 2)), "--size does not fit"),
        ("image-detection", Source(Path(), size_pixels=(2, 2)), "--size does not fit --data"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, task: str, source: Source, sentence: str) -> None:
    """Each in one sentence, and nothing is written."""
    with pytest.raises(UsageError, match=sentence):
        write_bodies(target(task), source, tmp_path / "bodies")
    assert not (tmp_path / "bodies").exists()
