"""From a bundle to its task."""

from __future__ import annotations

from pathlib import Path

from inferctl.bundles.manifest import Manifest
from inferctl.settings import ModelSettings
from inferctl.tasks.base import Task
from inferctl.tasks.classification import ClassificationTask
from inferctl.tasks.detection import DetectionTask
from inferctl.tasks.tensor import TensorTask
from inferctl.tasks.text import TextTask


def task_for(bundle: Path, manifest: Manifest, settings: ModelSettings) -> Task:
    """The task of a bundle. Raises BundleError when a file it needs does not load."""
    if manifest.task == "text-classification":
        return TextTask(bundle, manifest, settings.limits)
    if manifest.task == "tensor":
        return TensorTask(manifest, settings.limits)
    image_task = DetectionTask if manifest.task == "image-detection" else ClassificationTask
    return image_task(manifest, settings.limits, settings.runtime)
