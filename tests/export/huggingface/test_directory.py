"""A directory is handed to the loader of its head, and nothing else is exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.errors import CheckpointError, UsageError
from inferctl.export import ExportRequest
from inferctl.export.huggingface.directory import load_huggingface

from ..conftest import Saved
from .families import CLASSES, DETECTORS, IMAGES, TEXTS, edit_config

TASKS = {"vit": "image-classification", "yolos": "image-detection", "bert": "text-classification"}


@pytest.mark.parametrize("family", TASKS)
def test_a_directory_says_its_task_labels_and_name(saved: Saved, family: str) -> None:
    loaded = load_huggingface(ExportRequest(saved(family)))
    labels = ("negative", "positive") if family in TEXTS else tuple(CLASSES.values())
    assert (loaded.task, loaded.name, loaded.labels) == (TASKS[family], family, labels)
    assert loaded.weights.name == "model.safetensors"


def test_a_directory_speaks_to_nobody(saved: Saved, capfd: pytest.CaptureFixture[str]) -> None:
    for family in TASKS:
        load_huggingface(ExportRequest(saved(family)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("family", TASKS)
def test_another_task_than_the_head_s_is_refused(saved: Saved, family: str) -> None:
    task = "text-classification" if family != "bert" else "image-detection"
    with pytest.raises(UsageError, match=f"is {TASKS[family]} .--task"):
        load_huggingface(ExportRequest(saved(family), task=task))


@pytest.mark.parametrize("family", [*IMAGES, *DETECTORS])
@pytest.mark.parametrize("flags", [{"max_tokens": 8}, {"tokenizer": Path("tokenizer.json")}])
def test_flags_of_texts_are_refused_for_pictures(
    saved: Saved, family: str, flags: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="describes its model itself"):
        load_huggingface(ExportRequest(saved(family), **flags))


def test_a_size_is_asked_for_of_detectors_alone(saved: Saved) -> None:
    with pytest.raises(UsageError, match="--image-size"):
        load_huggingface(ExportRequest(saved("vit"), image_size=(64, 64)))


@pytest.mark.parametrize(
    ("architecture", "text"),
    [
        ("ViTForMaskedImageModeling", r"only \*ForSequenceClassification, \*ForImageClass"),
        ("DeformableDetrForObjectDetection", "only YolosForObjectDetection, DetrForObject"),
    ],
)
def test_a_head_that_is_not_known_is_refused_with_the_reason(
    copied: Saved, architecture: str, text: str
) -> None:
    folder = edit_config(copied("yolos"), architectures=[architecture])
    with pytest.raises(CheckpointError, match=text) as caught:
        load_huggingface(ExportRequest(folder))
    assert "--factory" in caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_classifier_of_several_labels_at_once_is_refused(copied: Saved) -> None:
    folder = edit_config(copied("vit"), problem_type="multi_label_classification")
    with pytest.raises(CheckpointError, match="not single-label"):
        load_huggingface(ExportRequest(folder))


@pytest.mark.parametrize(("family", "count"), [("vit", "two labels"), ("yolos", "one label")])
def test_labels_that_are_not_numbered_from_0_are_refused(
    copied: Saved, family: str, count: str
) -> None:
    folder = edit_config(copied(family), id2label={"1": "cat"})
    with pytest.raises(CheckpointError, match=f"does not number {count} or more from 0"):
        load_huggingface(ExportRequest(folder))


@pytest.mark.parametrize("family", ["vit", "yolos"])
def test_a_directory_without_its_preprocessor_is_refused(copied: Saved, family: str) -> None:
    folder = copied(family)
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json is missing"):
        load_huggingface(ExportRequest(folder))
