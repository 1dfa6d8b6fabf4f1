"""Predictions as typed values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inferctl.client.errors import UnexpectedAnswer

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What every prediction carries.

    `inference_ms` is the model's run, shared by its whole batch; `latency_ms` is how long the
    server had the request. `request_id` is that of the server's log.
    """

    model: str
    version: int
    inference_ms: float
    latency_ms: float
    request_id: str


@dataclass(frozen=True, slots=True)
class Detection:
    """A labelled box; `bbox` is x1, y1, x2, y2 in pixels of the image, EXIF orientation applied."""

    label: str
    confidence: float
    bbox: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections(Answered):
    """What was found in an image, the most confident first."""

    detections: tuple[Detection, ...]

    def __iter__(self) -> Iterator[Detection]:
        return iter(self.detections)

    def __len__(self) -> int:
        return len(self.detections)


@dataclass(frozen=True, slots=True)
class Score:
    """A label and its score in 0..1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(Answered):
    """An image's most likely label, and the `top_k` likeliest as `predictions`, the best first."""

    label: str
    score: float
    predictions: tuple[Score, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLabel(Answered):
    """A text's most likely label, and the score of every label."""

    label: str
    score: float
    scores: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors(Answered):
    """The model's outputs by name as nested lists, which `numpy.asarray` takes."""

    outputs: dict[str, Any]


Prediction = Detections | Classification | TextLabel | Tensors


def prediction_of(document: Any, request_id: str) -> Prediction:
    """A prediction from the JSON of an answer. Raises UnexpectedAnswer."""
    try:
        answered = {
            "model": document["model"],
            "version": document["version"],
            "inference_ms": document["inference_ms"],
            "latency_ms": document["latency_ms"],
            "request_id": request_id,
        }
        return _typed(document, answered)
    except (KeyError, TypeError, ValueError):
        raise UnexpectedAnswer(
            "the answer is not a prediction", hint="is it an inferctl server?", status=200,
            request_id=request_id,
        ) from None  # fmt: skip


def _typed(document: Mapping[str, Any], answered: dict[str, Any]) -> Prediction:
    """The answer of each task has a field that no other has."""
    if "detections" in document:
        found = tuple(map(_detection, document["detections"]))
        return Detections(detections=found, **answered)
    if "outputs" in document:
        return Tensors(outputs=document["outputs"], **answered)
    label, score = document["label"], document["score"]
    if "predictions" in document:
        best = tuple(Score(one["label"], one["score"]) for one in document["predictions"])
        return Classification(label=label, score=score, predictions=best, **answered)
    return TextLabel(label=label, score=score, scores=document["scores"], **answered)


def _detection(document: Mapping[str, Any]) -> Detection:
    x1, y1, x2, y2 = document["bbox"]
    return Detection(document["label"], document["confidence"], (x1, y1, x2, y2))
