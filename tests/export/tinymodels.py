"""Factories of models that export in seconds, and of models that must not be published."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from inferctl.errors import CheckpointError

SIDE = 16
CLASSES = 3
DETECTIONS = 4
VOCABULARY = 24


class Classifier(nn.Module):
    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, CLASSES + 4, 3, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heat, sides = self.conv(x).flatten(2).split([CLASSES, 4], dim=1)
        cells = heat.shape[2]
        scores, index = heat.sigmoid().flatten(1).topk(DETECTIONS)
        where = (index % cells).unsqueeze(-1).expand(-1, -1, 4)
        return sides.sigmoid().transpose(1, 2).gather(1, where), scores, index // cells


class DeepClassifier(nn.Module):
    """Three convolutions: enough for int8 to have something to do."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 16, 3, padding=1)
        self.third = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Linear(8, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).relu()).relu()
        return self.third(x).relu().mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Overflowing(DeepClassifier):
    """Two layers in its middle reach values that fp16 does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x) * 3e4 * 3e4 / 9e8)


class DeepDetector(nn.Module):
    """Two convolutions, so that one is no prediction; its scores are spread over 0..1."""

    def __init__(self) -> None:
        super().__init__()
        # Of its own: a script knows no globals.
        self.sizes = [CLASSES, 4]
        self.k = DETECTIONS
        self.trunk = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.conv = nn.Conv2d(8, CLASSES + 4, 3, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heat, sides = self.conv(self.trunk(x).relu()).flatten(2).split(self.sizes, dim=1)
        cells = heat.shape[2]
        scores, index = heat.sigmoid().flatten(1).topk(self.k)
        where = (index % cells).unsqueeze(-1).expand(-1, -1, 4)
        corners = sides.sigmoid().transpose(1, 2).gather(1, where)
        boxes = torch.cat([corners[..., :2] / 2, 0.5 + corners[..., 2:] / 2], -1)
        return boxes, scores, index // cells


class TrainingNorm(Classifier):
    """A BatchNorm that was left in training mode, and stays there."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = nn.functional.batch_norm(x, None, None, self.norm.weight, self.norm.bias, True)
        return self.head(x.relu().mean((2, 3)))


class PixelDetector(Detector):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        boxes, scores, labels = super().forward(x)
        return boxes * 640, scores, labels


class Words(nn.Module):
    """Mean of the words' vectors: the mask is obeyed."""

    def __init__(self, vocabulary: int = VOCABULARY) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask.unsqueeze(-1).float()
        return self.head((self.table(input_ids) * mask).sum(1) / mask.sum(1))


class Unmasked(Words):
    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.table(input_ids).mean(1) + 0 * attention_mask.sum(1, keepdim=True))


class BatchMean(Classifier):
    """Subtracts the batch's mean, so a row's answer depends on its neighbours."""

    def forward(self, x: Tensor) -> Tensor:
        return 10 * super().forward(x - x.mean(0, keepdim=True))


class Branching(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > 0 else -x)


class Restless(Classifier):
    """Answers otherwise each time it is called: the graph holds one of its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * float(self.calls)


class RowLoop(Classifier):
    """Loops over rows, which fixes their number in the graph."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([super(RowLoop, self).forward(row[None]) for row in x])


class TwoRows(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).reshape(2, -1)[:, :CLASSES]


class NotFinite(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0


def classifier() -> nn.Module:
    return Classifier()


def two_classes() -> nn.Module:
    return Classifier(2)


def not_a_module() -> int:
    return 7


def failing() -> nn.Module:
    raise KeyError("weights/backbone")


class OwnError(Exception):
    """As people write them: derived from nothing narrower."""


def own_error() -> nn.Module:
    raise OwnError("config missing\nsee the wiki")


def our_error() -> nn.Module:
    raise CheckpointError("raised by inferctl itself")


class Broken(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        raise OwnError("no such layer\nsee the wiki")


class BrokenInExport(Classifier):
    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting():
            raise OwnError("cannot be traced")
        return super().forward(x)


class NotDrawable(Classifier):
    """Runs, but neither exporter can draw it."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
            raise OwnError("there is no ONNX form of it")
        return super().forward(x)


def exiting() -> nn.Module:
    raise SystemExit(2)


class Tied(nn.Module):
    """Two names for one weight, as in models whose embedding is also their last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
