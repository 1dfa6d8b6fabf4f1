"""Object detectors of the DETR kind: a fixed number of queries, each a box and its classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import transformers
from torch import Tensor, nn

from inferctl.bundles.manifest import ImageInput
from inferctl.errors import CheckpointError, UsageError
from inferctl.export.foreign import clean
from inferctl.export.huggingface.boxes import BestPairs, BestQueries, Choice
from inferctl.export.huggingface.config import Directory
from inferctl.export.huggingface.image import TEXT_FLAGS
from inferctl.export.huggingface.preprocessor import Preprocessor, read_preprocessor
from inferctl.export.huggingface.weights import load_module, weights_of
from inferctl.export.loaded import LoadedModel

MAX_DETECTIONS = 100


@dataclass(frozen=True, slots=True)
class Family:
    """How a family's answer is read, and the entry of config.json that counts its queries."""

    choice: type[Choice]
    queries: str


FAMILIES = {
    "YolosForObjectDetection": Family(BestQueries, "num_detection_tokens"),
    "DetrForObjectDetection": Family(BestQueries, "num_queries"),
    "RTDetrForObjectDetection": Family(BestPairs, "num_queries"),
    "RTDetrV2ForObjectDetection": Family(BestPairs, "num_queries"),
}


class Detector(nn.Module):
    """Pixels float32 [rows, 3, H, W] in; boxes, scores and labels of the `k` best out."""

    def __init__(self, model: nn.Module, choice: Choice) -> None:
        super().__init__()
        self.model = model
        self.choice = choice

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`boxes` [rows, k, 4] as x1, y1, x2, y2 in 0..1, `scores` and `labels` [rows, k]."""
        answer = self.model(pixel_values=pixel_values)
        detections: tuple[Tensor, Tensor, Tensor] = self.choice(answer.logits, answer.pred_boxes)
        return detections


def load_detector(directory: Directory) -> LoadedModel:
    """Load a detector with its preprocessor's settings.

    Raises CheckpointError when it is incomplete, of a family that is not known, or its pixels
    cannot be made here; UsageError for flags that contradict it.
    """
    directory.refuse_flags(*TEXT_FLAGS)
    family = _family(directory)
    labels = directory.labels(at_least=1)
    preprocessor = read_preprocessor(directory)
    image, stretched = _input(directory, preprocessor)
    mean, std = preprocessor.normalisation()
    card = directory.card()
    weights, sha256, shards = weights_of(directory.path)
    model, notes = load_module(directory.path, transformers.AutoModelForObjectDetection)
    return LoadedModel(
        module=Detector(model, _choice(model, family, labels)).eval(),
        task="image-detection",
        name=directory.name,
        labels=labels,
        weights=weights,
        sha256=sha256,
        shards=shards,
        notes=(*notes, *stretched),
        image=image,
        mean=mean,
        std=std,
        card=card,
    )


def _family(directory: Directory) -> Family:
    name = directory.architecture
    if name not in FAMILIES:
        raise CheckpointError(
            clean(f"{name} is not exported: only {', '.join(FAMILIES)} are known"),
            where=str(directory.path),
            hint="export it as a state dict with a --factory that returns boxes, scores and labels",
        )
    return FAMILIES[name]


def _choice(model: Any, family: Family, labels: tuple[str, ...]) -> Choice:
    classes = int(model.config.num_labels)
    if classes != len(labels):
        raise UsageError(
            f"the model tells {classes} classes apart, {len(labels)} are named",
            where="--labels",
            hint=f"pass {classes} names, in the order of the model's outputs",
        )
    return family.choice(int(getattr(model.config, family.queries)), classes, MAX_DETECTIONS)


def _input(directory: Directory, preprocessor: Preprocessor) -> tuple[ImageInput, tuple[str, ...]]:
    image, notes = preprocessor.detector_input()
    asked = directory.request.image_size
    if asked is None:
        return image, notes
    note = f"pictures are stretched to {asked[0]} x {asked[1]}, as --image-size says"
    return preprocessor.resized_to(*asked), (note,)
