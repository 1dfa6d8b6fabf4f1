"""The modules of the matrix: `tests.export.matrix.models:vit` is a factory, as a person's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

from inferctl.export.huggingface.boxes import BestPairs, BestQueries
from inferctl.export.huggingface.detection import Detector
from inferctl.export.huggingface.image import ImageClassifier
from inferctl.export.huggingface.text import SequenceClassifier
from tests.export import tinymodels
from tests.export.conftest import calm, settle
from tests.export.huggingface import families

from .cells import DETECTORS, IMAGES, TEXTS

CHOICES = {
    "detr": BestQueries(8, 4, 100),
    "yolos": BestQueries(10, 4, 100),
    "rt-detr": BestPairs(10, 4, 100),
    "rt-detr-v2": BestPairs(10, 4, 100),
}


class Segments(tinymodels.Words):
    """Words in the order of a tokenizer's outputs, with a vector for what is no first segment."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = nn.Embedding(2, 8)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask.unsqueeze(-1).float()
        words = self.table(input_ids) + self.kinds(token_type_ids)
        return self.head((words * mask).sum(1) / mask.sum(1))


OWN: dict[str, Callable[[], nn.Module]] = {
    "own-text": tinymodels.Words,
    "own-segments": Segments,
    "own-image": tinymodels.DeepClassifier,
    "own-detector": tinymodels.DeepDetector,
    "tensor": partial(nn.Linear, 4, 3),
}


def build(family: str) -> nn.Module:
    """The module of a family in evaluation mode, with the weights that are saved."""
    if family in OWN:
        module = OWN[family]()
        return calm(module) if "image" in family or "detector" in family else settle(module)
    if family == "detr-timm":
        backbone = {"model_type": "timm_backbone", "backbone": "resnet18"}
        return hf.DetrForObjectDetection(hf.DetrConfig(backbone_config=backbone))
    return wrapped(family, families.build(family)[0])


def blank(family: str) -> nn.Module:
    """The module of a family with weights that nobody trained."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return OWN[family]() if family in OWN else wrapped(family, families.FAMILIES[family]()[0])


def wrapped(family: str, model: nn.Module) -> nn.Module:
    """A model of transformers behind what inferctl asks of a module."""
    if family in TEXTS:
        return SequenceClassifier(model).eval()
    if family in IMAGES:
        return ImageClassifier(model).eval()
    assert family in DETECTORS
    return Detector(model, CHOICES[family]).eval()


def __getattr__(name: str) -> Any:
    family = name.replace("_", "-")
    if family in OWN or family in families.FAMILIES:
        return partial(blank, family)
    raise AttributeError(name)
