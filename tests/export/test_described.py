"""Checkpoints of every kind: exported when whole, refused in one line when not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from inferctl.errors import CheckpointError, InferctlError, UsageError
from inferctl.export import export_bundle
from inferctl.export.described import load_described
from inferctl.export.sniff import INDEX_FILE, Kind, sniff

from . import kinds, tinymodels
from .conftest import MakeRequest, factory

WHOLE_MODELS = ("traced", "scripted", "frozen", "program")
KINDS = ("torch", "legacy", "safetensors", "shards", "lightning", *WHOLE_MODELS)
SNIFFED = {
    "torch": Kind.TORCH_ZIP,
    "legacy": Kind.TORCH_LEGACY,
    "safetensors": Kind.SAFETENSORS,
    "shards": Kind.SHARDED,
    "lightning": Kind.TORCH_ZIP,
    "traced": Kind.TORCHSCRIPT,
    "scripted": Kind.TORCHSCRIPT,
    "frozen": Kind.TORCHSCRIPT,
    "program": Kind.PT2,
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny classifier as every kind of checkpoint."""
    return {kind: kinds.save(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


def request_of(classify: MakeRequest, kind: str, checkpoint: Path, **parts: object) -> object:
    if kind in WHOLE_MODELS:
        parts = {"factory": None, **parts}
    return classify(checkpoint=checkpoint, **parts)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_answers_as_the_module_does(
    classify: MakeRequest, checkpoints: dict[str, Path], kind: str
) -> None:
    assert sniff(checkpoints[kind]) is SNIFFED[kind]
    result = export_bundle(request_of(classify, kind, checkpoints[kind]))

    picture = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    mean, std = torch.tensor((0.5, 0.4, 0.3)), torch.tensor((0.2, 0.3, 0.4))
    pixels = ((torch.from_numpy(picture) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = kinds.classifier()(pixels).softmax(1).numpy()
    session = onnxruntime.InferenceSession(
        result.path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (actual,) = session.run(["scores"], {"image": picture})
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    assert {check.rows for check in result.checks} == {1, 2, 5}
    graph = (result.path / "model.onnx").read_bytes()
    assert not [text for text in (os.fsencode(Path.cwd()), b"site-packages") if text in graph]


def damaged_file(kind: str, checkpoint: Path) -> Path:
    return sorted(checkpoint.glob("*.safetensors"))[-1] if kind == "shards" else checkpoint


@pytest.mark.parametrize("part", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_cut_short_is_refused(
    classify: MakeRequest, tmp_path: Path, kind: str, part: float
) -> None:
    checkpoint = kinds.save(kind, tmp_path)
    file = damaged_file(kind, checkpoint)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * part)])
    refused(request_of(classify, kind, checkpoint), "damaged")


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_checkpoint_is_refused(classify: MakeRequest, tmp_path: Path, kind: str) -> None:
    checkpoint = kinds.save(kind, tmp_path)
    damaged_file(kind, checkpoint).write_bytes(b"")
    refused(request_of(classify, kind, checkpoint), "the file is empty")


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_in_place_of_a_file_is_not_waited_for(
    classify: MakeRequest, tmp_path: Path, kind: str
) -> None:
    checkpoint = kinds.save(kind, tmp_path)
    file = damaged_file(kind, checkpoint)
    file.unlink()
    os.mkfifo(file)
    refused(request_of(classify, kind, checkpoint), "not a plain file")


@pytest.mark.parametrize("kind", KINDS)
def test_another_task_is_refused(
    classify: MakeRequest, checkpoints: dict[str, Path], kind: str
) -> None:
    request = request_of(classify, kind, checkpoints[kind], task="image-detection")
    refused(request, "a detector returns boxes .*, this one returns float32")


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_another_size_are_refused(
    classify: MakeRequest, checkpoints: dict[str, Path], kind: str
) -> None:
    request = request_of(classify, kind, checkpoints[kind], image_size=(1, 1))
    text = (
        r"exported for inputs of \[3, 16, 16\]"
        if kind == "program"
        else "model does not run: RuntimeError: .*Kernel size can't be greater"
    )
    refused(request, text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_number_of_labels_is_refused(
    classify: MakeRequest, checkpoints: dict[str, Path], kind: str
) -> None:
    request = request_of(classify, kind, checkpoints[kind], labels=("cat", "dog"))
    with pytest.raises(UsageError, match="3 classes apart, 2 are named"):
        export_bundle(request)


def refused(request: object, text: str) -> None:
    with pytest.raises(CheckpointError, match=text) as caught:
        export_bundle(request)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert not request.output.exists()


@pytest.mark.parametrize("kind", WHOLE_MODELS)
def test_a_whole_model_takes_no_factory_and_no_key(
    classify: MakeRequest, checkpoints: dict[str, Path], kind: str
) -> None:
    with pytest.raises(UsageError, match=r"brings its own model .*leave --factory out"):
        export_bundle(classify(checkpoint=checkpoints[kind]))
    with pytest.raises(UsageError, match=r"no nested weights .*leave it out"):
        export_bundle(request_of(classify, kind, checkpoints[kind], weights_key="ema"))


def test_a_hugging_face_folder_of_shards_is_read_for_a_factory(
    classify: MakeRequest, tmp_path: Path
) -> None:
    folder = kinds.save("shards", tmp_path)
    (folder / "config.json").write_text('{"architectures": ["OwnNet"]}')
    assert sniff(folder) is Kind.HF_DIRECTORY
    assert export_bundle(classify(checkpoint=folder)).loaded.weights == folder / INDEX_FILE


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"task": None}, "does not say what it predicts"),
        ({"factory": None}, "has weights but no model"),
        ({"labels": ()}, "no label names"),
        ({"image_size": None}, "--image-size"),
        ({"task": "text-classification"}, "needs its tokenizer"),
        ({"card": Path("missing.md")}, "cannot read the card"),
        ({"checkpoint": Path("ÄÖ.pt")}, "no name can be made|no such|cannot read"),
    ],
)
def test_a_missing_flag_is_asked_for(
    classify: MakeRequest, parts: dict[str, object], text: str
) -> None:
    with pytest.raises((UsageError, CheckpointError), match=text):
        load_described(classify(**parts), Kind.TORCH_ZIP)


@pytest.mark.parametrize("kind", [Kind.TORCHSCRIPT, Kind.PT2])
@pytest.mark.parametrize("flag", ["task", "labels", "image_size"])
def test_a_whole_model_needs_the_other_flags(classify: MakeRequest, kind: Kind, flag: str) -> None:
    absent = () if flag == "labels" else None
    with pytest.raises(UsageError, match=f"--{flag.replace('_', '-')}"):
        load_described(classify(factory=None, **{flag: absent}), kind)


def test_a_card_is_no_place_for_megabytes(classify: MakeRequest, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_bytes(b"x" * 1_000_001)
    with pytest.raises(UsageError, match="over 1 MB"):
        load_described(classify(card=card), Kind.TORCH_ZIP)


def test_a_text_model_needs_its_longest_text(classify: MakeRequest, store: Path) -> None:
    request = classify(task=None, tokenizer=store / "tokenizer.json")
    with pytest.raises(UsageError, match="--max-tokens"):
        load_described(request, Kind.TORCH_ZIP)


@pytest.mark.parametrize("kind", ["traced", "scripted", "program"])
@pytest.mark.parametrize("model", ["Words", "Unmasked"])
def test_texts_of_any_number_and_length(
    classify: MakeRequest, store: Path, tmp_path: Path, kind: str, model: str
) -> None:
    """One that obeys the mask is published, one that does not is refused as from a factory."""
    request = classify(
        checkpoint=text_model(model, kind, tmp_path),
        factory=None,
        task="text-classification",
        labels=("bad", "good"),
        image_size=None,
        tokenizer=store / "tokenizer.json",
        max_tokens=20,
    )
    if model == "Unmasked":
        with pytest.raises(InferctlError, match="against each row unpadded"):
            export_bundle(request)
        return
    result = export_bundle(request)
    assert len({check.tokens for check in result.checks}) >= 2


def text_model(model: str, kind: str, folder: Path) -> Path:
    module = kinds.settle(getattr(tinymodels, model)())
    inputs = torch.ones(2, 7, dtype=torch.int64), torch.ones(2, 7, dtype=torch.int64)
    if kind == "program":
        free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
        return kinds.save_program(module, folder / "m.pt2", inputs, (free, free))
    return kinds.save_script(module, folder / "m.pt", *(inputs if kind == "traced" else ()))


@pytest.mark.parametrize("kind", ["traced", "program"])
def test_a_detector_keeps_its_three_outputs(
    classify: MakeRequest, tmp_path: Path, kind: str
) -> None:
    module = kinds.settle(tinymodels.Detector())
    path = tmp_path / "detector.pt"
    if kind == "traced":
        kinds.save_script(module, path, kinds.PICTURES)
    else:
        kinds.save_program(module, path)
    result = export_bundle(classify(checkpoint=path, factory=None, task="image-detection"))
    assert [tensor.name for tensor in result.manifest.outputs] == ["boxes", "scores", "labels"]
    assert {check.against for check in result.checks} == {"pytorch", "each row alone"}


def test_a_script_that_mixes_rows_is_not_published(classify: MakeRequest, tmp_path: Path) -> None:
    path = kinds.save_script(
        kinds.settle(tinymodels.BatchMean()), tmp_path / "mean.pt", kinds.PICTURES
    )
    with pytest.raises(InferctlError, match="against each row alone"):
        export_bundle(classify(checkpoint=path, factory=None))


def test_a_factory_is_named_where_the_weights_are_shards(
    classify: MakeRequest, checkpoints: dict[str, Path]
) -> None:
    result = export_bundle(
        classify(checkpoint=checkpoints["shards"] / INDEX_FILE, factory=factory("classifier"))
    )
    assert result.manifest.name == "shards"
