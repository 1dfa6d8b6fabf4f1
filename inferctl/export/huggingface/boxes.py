"""From the answers of a detector's queries to the detections of a bundle, inside the graph."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

Detections = tuple[Tensor, Tensor, Tensor]


class Choice(nn.Module):
    """Reads logits [rows, queries, …] and boxes [rows, queries, 4], these as `corners` takes them.

    The answer: `boxes` float32 [rows, k, 4] as x1, y1, x2, y2, `scores` float32 [rows, k]
    descending, `labels` int64 [rows, k]. `k` is fixed: at most `most`, and no more than there are.
    """

    def __init__(self, queries: int, classes: int, most: int) -> None:
        super().__init__()
        self.classes = classes
        self.k = min(most, self.candidates(queries, classes))

    @staticmethod
    @abstractmethod
    def candidates(queries: int, classes: int) -> int:
        """How many detections there are to choose from."""

    @abstractmethod
    def forward(self, logits: Tensor, boxes: Tensor) -> Detections:
        """The `k` best detections."""


class BestQueries(Choice):
    """One detection a query: its likeliest class, the last logit being that of no object."""

    @staticmethod
    def candidates(queries: int, classes: int) -> int:
        """As many as queries."""
        return queries

    def forward(self, logits: Tensor, boxes: Tensor) -> Detections:
        """Softmax over classes [rows, queries, classes + 1], the best queries."""
        best, label = torch.softmax(logits, -1)[..., :-1].max(-1)
        scores, query = best.topk(self.k)
        return corners(_of(query, boxes)), scores, label.gather(1, query)


class BestPairs(Choice):
    """Every class of every query is a detection of its own."""

    @staticmethod
    def candidates(queries: int, classes: int) -> int:
        """As many as pairs."""
        return queries * classes

    def forward(self, logits: Tensor, boxes: Tensor) -> Detections:
        """Sigmoid of logits [rows, queries, classes], the best pairs of query and class."""
        scores, pair = logits.sigmoid().flatten(1).topk(self.k)
        query = torch.div(pair, self.classes, rounding_mode="floor")
        return corners(_of(query, boxes)), scores, pair - query * self.classes


def corners(boxes: Tensor) -> Tensor:
    """Boxes [..., 4] as centre x, centre y, width, height become x1, y1, x2, y2."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat((centre - size / 2, centre + size / 2), dim=-1)


def _of(query: Tensor, boxes: Tensor) -> Tensor:
    """The boxes [rows, k, 4] of the queries [rows, k]."""
    return boxes.gather(1, query.unsqueeze(-1).expand(-1, -1, 4))
