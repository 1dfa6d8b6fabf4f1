"""Each kind of bundle gets its own task."""

from __future__ import annotations

from pathlib import Path

from inferctl.tasks.classification import ClassificationTask
from inferctl.tasks.detection import DetectionTask
from inferctl.tasks.tensor import TensorTask
from inferctl.tasks.text import TextTask

from .tinybundles import LABELS, classifier, detector, numbers, reader, task_of, write_tokenizer


def test_the_manifest_s_task_is_found(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    assert type(task_of(detector())) is DetectionTask
    assert type(task_of(classifier())) is ClassificationTask
    assert type(task_of(reader(), tmp_path)) is TextTask
    assert type(task_of(numbers())) is TensorTask


def test_a_task_carries_its_model_s_labels_and_name() -> None:
    task = task_of(detector(name="my-shapes.v2"))
    assert task.labels == LABELS
    assert task.request.__name__ == "MyShapesV2Request"
    assert task.answer.__name__ == "MyShapesV2Answer"
