"""What the load sends is what the bundles take."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image

import inferctl.demo
from benchmarks.bodies import Body, photos, tensor_bodies, text_bodies, vision_bodies
from benchmarks.workloads import PARTS, WORKLOADS, Assets, bundle_files, manifest_of, workload
from inferctl.bundles.manifest import GRAPH_FILE, MANIFEST_FILE, TOKENIZER_FILE, Manifest
from inferctl.bundles.repository import open_bundle
from inferctl.errors import UsageError
from inferctl.settings import ModelSettings
from inferctl.tasks.registry import task_for

TOKENIZER = Path(inferctl.demo.__file__).parent / "checkpoints" / "sentiment" / TOKENIZER_FILE


def files() -> dict[str, bytes]:
    """What a bundle holds, with a stand-in for the graph: tasks do not open it."""
    return {GRAPH_FILE: b"graph", TOKENIZER_FILE: TOKENIZER.read_bytes()}


@pytest.fixture(scope="module", params=sorted(PARTS))
def made(request: pytest.FixtureRequest) -> tuple[str, list[Body]]:
    """A workload's name and its bodies, made once."""
    name = str(request.param)
    return name, WORKLOADS[name].bodies()


def test_every_body_becomes_the_row_that_the_manifest_promises(
    made: tuple[str, list[Body]], tmp_path: Path
) -> None:
    name, bodies = made
    for file, data in files().items():
        (tmp_path / file).write_bytes(data)
    manifest = manifest_of(name, files(), opset=18)
    task = task_for(tmp_path, manifest, ModelSettings())

    for body in bodies:
        prepared = task.preprocess(task.read_json(json.dumps(body).encode()))

        for tensor in manifest.inputs:
            array = prepared.tensors[tensor.name]
            assert array.dtype == tensor.dtype
            assert array.shape == (1, *tensor.row_shape(prepared.tokens))


def test_bodies_are_distinct(made: tuple[str, list[Body]]) -> None:
    name, bodies = made

    assert len({json.dumps(body) for body in bodies}) == (64 if name == "vision" else 256)


def test_bodies_are_the_same_every_time() -> None:
    assert vision_bodies(count=2) == vision_bodies(count=2)
    assert text_bodies() == text_bodies()
    assert tensor_bodies() == tensor_bodies()


def test_another_seed_gives_other_bodies() -> None:
    assert photos(1, seed=1) != photos(1, seed=2)
    assert text_bodies(8, seed=1) != text_bodies(8, seed=2)


def test_photos_are_of_the_size_of_photos() -> None:
    for body in vision_bodies(count=8):
        data = base64.b64decode(body["image_b64"])

        assert Image.open(io.BytesIO(data)).size == (640, 480)
        assert 60_000 < len(data) < 110_000


def test_texts_have_5_to_60_words() -> None:
    lengths = [len(body["text"].split()) for body in text_bodies()]

    assert min(lengths) == 5
    assert max(lengths) == 60


def test_a_bundle_of_a_workload_opens(tmp_path: Path) -> None:
    written = bundle_files("text-int8", files(), opset=18)
    for file, data in written.items():
        (tmp_path / file).write_bytes(data)

    manifest = open_bundle(tmp_path).manifest
    assert manifest == Manifest.model_validate_json(written[MANIFEST_FILE])
    assert manifest.precision == "int8"


def test_int8_shares_the_bodies_of_fp32_but_not_its_answers(tmp_path: Path) -> None:
    assets = Assets(tmp_path)

    assert assets.bodies_file("text-int8") == assets.bodies_file("text")
    assert assets.answers_file("text-int8") != assets.answers_file("text")


def test_a_workload_that_is_not_made_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"make it with `python -m benchmarks\.workloads`"):
        Assets(tmp_path).bodies("text")


def test_an_unknown_workload_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known are vision, vision-int8, text, text-int8, mlp"):
        workload("audio")
