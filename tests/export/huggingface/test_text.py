"""Directories of sequence classifiers are loaded; every other one is told why not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from inferctl.errors import CheckpointError, UsageError
from inferctl.export import ExportRequest
from inferctl.export.huggingface.config import Directory
from inferctl.export.huggingface.directory import load_huggingface
from inferctl.export.huggingface.lengths import longest_text

from .families import edit_config


@pytest.fixture
def bert(store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store / "bert", tmp_path / "My Bert"))


def edit_weights(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_directory_needs_no_flags(bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    loaded = load_huggingface(ExportRequest(bert))
    assert loaded.name == "my-bert"
    assert loaded.labels == ("negative", "positive")
    assert loaded.card == b"# A tiny model\n"
    assert loaded.notes == ()
    assert capfd.readouterr() == ("", "")


def test_flags_replace_what_the_directory_says(bert: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text("mine")
    loaded = load_huggingface(
        ExportRequest(bert, labels=("no", "yes"), name="mine", max_tokens=8, card=card)
    )
    assert (loaded.labels, loaded.name, loaded.card) == (("no", "yes"), "mine", b"mine")
    assert loaded.text is not None
    assert loaded.text.max_tokens == 8


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "it is BertForMaskedLM"),
        ({"architectures": None}, "it is nothing"),
        ({"architectures": ["OwnForSequenceClassification"], "auto_map": {}}, "own directory"),
        ({"problem_type": "multi_label_classification"}, "not single-label"),
        ({"id2label": {"0": "only"}}, "two labels"),
        ({"id2label": {"1": "a", "2": "b"}}, "from 0"),
        ({"id2label": {"x": "a", "y": "b"}}, "from 0"),
        ({"vocab_size": 5}, "the model 5"),
        ({"model_type": "unheard-of"}, "transformers cannot load it"),
        ({"hidden_size": 32}, "weights have another shape than config.json says"),
    ],
)
def test_a_directory_that_cannot_be_exported_says_why(
    bert: Path, changes: dict[str, object], text: str
) -> None:
    with pytest.raises(CheckpointError, match=text) as caught:
        load_huggingface(ExportRequest(edit_config(bert, **changes)))
    assert "\n" not in str(caught.value)


def test_a_classifier_without_its_head_is_not_exported(bert: Path) -> None:
    edit_weights(bert, lambda tensors: tensors.pop("classifier.weight"))
    with pytest.raises(
        CheckpointError, match=r"1 weights are missing, such as 'classifier.weight'"
    ):
        load_huggingface(ExportRequest(bert))


def test_weights_of_another_head_are_reported(bert: Path) -> None:
    edit_weights(bert, lambda tensors: tensors.update({"cls.extra": torch.zeros(2)}))
    (note,) = load_huggingface(ExportRequest(bert)).notes
    assert "'cls.extra'" in note


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(bert: Path, name: str) -> None:
    (bert / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing|cannot read the tokenizer"):
        load_huggingface(ExportRequest(bert))


def test_a_pickle_in_place_of_safetensors_is_refused(bert: Path) -> None:
    torch.save({"a": torch.zeros(1)}, bert / "model.safetensors")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_huggingface(ExportRequest(bert))


@pytest.mark.parametrize(("content", "text"), [("{", "not JSON"), ("[]", "not a model's")])
def test_a_damaged_configuration_is_refused(bert: Path, content: str, text: str) -> None:
    (bert / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=text):
        load_huggingface(ExportRequest(bert))
    (bert / "config.json").unlink()
    with pytest.raises(CheckpointError, match="cannot read it"):
        load_huggingface(ExportRequest(bert))


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"factory": "a:b"}, "--factory"),
        ({"weights_key": "ema"}, "--weights-key"),
        ({"image_size": (8, 8)}, "--image-size"),
        ({"mean": (0.5, 0.5, 0.5)}, "--mean"),
        ({"std": (0.5, 0.5, 0.5)}, "--std"),
        ({"task": "image-detection"}, "--task"),
        ({"max_tokens": 41}, "only 40 positions"),
    ],
)
def test_flags_that_contradict_the_directory_are_refused(
    bert: Path, flags: dict[str, object], text: str
) -> None:
    with pytest.raises(UsageError, match=text):
        load_huggingface(ExportRequest(bert, **flags))


def test_the_longest_text_is_what_model_and_tokenizer_agree_on(bert: Path) -> None:
    (bert / "tokenizer_config.json").write_text('{"model_max_length": 24}')
    loaded = load_huggingface(ExportRequest(bert))
    assert loaded.text is not None
    assert loaded.text.max_tokens == 24


def test_positions_that_start_after_the_padding_are_not_counted(bert: Path) -> None:
    config = {"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}
    for settings, longest in ((config, 512), ({"n_positions": 64}, 64)):
        assert longest_text(Directory(bert, settings, ExportRequest(bert))) == longest
