"""What PyTorch answers to the pictures and texts of the matrix, by no code of inferctl."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tests.export.huggingface import families
from tests.export.words import VOCABULARY
from tests.tasks.pictures import encoded, photo

from . import models
from .cells import DIRECTORIES, Cell
from .checkpoints import MEAN, STD, is_detector, is_text, side

SENTENCES = ("the film was long", "terrible service and cold food the food was cold")


@dataclass(frozen=True)
class Detection:
    """A label's number, its score, and x1, y1, x2, y2 in pixels."""

    label: int
    score: float
    box: np.ndarray


Expected = np.ndarray | list[Detection]


@cache
def pictures() -> tuple[bytes, ...]:
    """Two with nothing in common, one lying and one standing."""
    grain = np.random.default_rng(1).integers(0, 256, (90, 50, 3)).astype(np.uint8)
    return encoded(photo(120, 80), "JPEG"), encoded(Image.fromarray(grain), "JPEG")


def requests(family: str) -> tuple[str | bytes, ...]:
    """What is sent to a family's model, in one batch."""
    return SENTENCES if is_text(family) else pictures()


def expected(cell: Cell) -> list[Expected]:
    """For each request the scores of all labels, or the detections, the best first."""
    by_transformers = cell.kind in DIRECTORIES
    return _answers(cell.family, by_transformers)


@cache
def _answers(family: str, by_transformers: bool) -> list[Expected]:
    """`by_transformers`: pictures as its processor prepares them; else stretched, as was asked."""
    with torch.no_grad():
        if is_text(family):
            module = models.build(family)
            return [_softmax(module(*_tokens(family, text))) for text in SENTENCES]
        answer = _by_processor if by_transformers else _stretched
        return [answer(family, data) for data in pictures()]


def _tokens(family: str, text: str) -> tuple[Tensor, ...]:
    ids = torch.tensor([[VOCABULARY.index(word) for word in text.split()]])
    mask = torch.ones_like(ids)
    return (ids, torch.zeros_like(ids), mask) if family == "own-segments" else (ids, mask)


def _by_processor(family: str, data: bytes) -> Expected:
    model, processor = families.build(family)
    with Image.open(io.BytesIO(data)) as picture:
        outputs = model(**processor(picture, return_tensors="pt"))
        size = [(picture.height, picture.width)]
    if not is_detector(family):
        return _softmax(outputs.logits)
    (found,) = processor.post_process_object_detection(outputs, threshold=0, target_sizes=size)
    return _detections(found["boxes"], found["scores"], found["labels"])


def _stretched(family: str, data: bytes) -> Expected:
    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
        resized = picture.convert("RGB").resize((side(family),) * 2, Image.Resampling.BILINEAR)
    values = (np.asarray(resized) / 255 - MEAN) / STD
    pixels = torch.from_numpy(values).float().permute(2, 0, 1)[None]
    outputs: Any = models.build(family)(pixels)
    if not is_detector(family):
        return _softmax(outputs)
    boxes, scores, labels = (output[0] for output in outputs)
    return _detections(boxes * torch.tensor([width, height] * 2), scores, labels)


def _softmax(logits: Tensor) -> np.ndarray:
    return logits.softmax(-1)[0].numpy()


def _detections(boxes: Tensor, scores: Tensor, labels: Tensor) -> list[Detection]:
    best = scores.argsort(descending=True, stable=True).tolist()
    return [Detection(int(labels[i]), float(scores[i]), boxes[i].numpy()) for i in best]
