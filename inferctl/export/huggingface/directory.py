"""Finds out from config.json which task a directory is for, and hands it to that task's loader."""

from __future__ import annotations

from collections.abc import Callable

import transformers

from inferctl.bundles.manifest import Task
from inferctl.errors import CheckpointError, UsageError
from inferctl.export.foreign import clean
from inferctl.export.huggingface.config import Directory, open_directory
from inferctl.export.huggingface.detection import load_detector
from inferctl.export.huggingface.image import load_image_classifier
from inferctl.export.huggingface.text import load_text_classifier
from inferctl.export.loaded import LoadedModel
from inferctl.export.request import ExportRequest

Loader = Callable[[Directory], LoadedModel]

# The end of an architecture's name → its task and who loads it.
HEADS: dict[str, tuple[Task, Loader]] = {
    "ForSequenceClassification": ("text-classification", load_text_classifier),
    "ForImageClassification": ("image-classification", load_image_classifier),
    "ForObjectDetection": ("image-detection", load_detector),
}


def load_huggingface(request: ExportRequest) -> LoadedModel:
    """Load a directory with config.json, its weights and its tokenizer or preprocessor.

    Raises CheckpointError when it is another head or incomplete, UsageError for flags that
    contradict it.
    """
    directory = open_directory(request)
    task, loader = _head(directory)
    if request.task not in (None, task):
        raise UsageError(f"{clean(directory.architecture)} is {task}", where="--task")
    if "auto_map" in directory.config and not hasattr(transformers, directory.architecture):
        raise CheckpointError(
            "it needs Python code from its own directory, which is not run",
            where=str(directory.path),
            hint="export it as a state dict with --factory",
        )
    problem = directory.config.get("problem_type")
    if problem in ("regression", "multi_label_classification"):
        raise CheckpointError(
            f"its problem type is {problem}, not single-label classification",
            where=str(directory.path),
        )
    return loader(directory)


def _head(directory: Directory) -> tuple[Task, Loader]:
    for end, head in HEADS.items():
        if directory.architecture.endswith(end):
            return head
    ends = ", ".join(f"*{end}" for end in HEADS)
    raise CheckpointError(
        clean(f"it is {directory.architecture}, and from a directory only {ends} are exported"),
        where=str(directory.path),
        hint="export other models as a state dict with --factory",
    )
