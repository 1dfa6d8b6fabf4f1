"""Measures both demo models on inputs kept from training: `python -m inferctl.demo.evaluate`."""

import random
import sys
from collections.abc import Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from inferctl.demo.grammar import HAND_WRITTEN, sentences
from inferctl.demo.metrics import Detections, Truth, average_precisions
from inferctl.demo.scenes import LABELS, SIZE, Scene, scene_series
from inferctl.demo.sentiment import classify, load_sentiment
from inferctl.demo.shapes import ShapesDetector, normalise
from inferctl.demo.weights import load_shapes

HELD_OUT_SEED = 50_001
SCENES = 500
SENTENCES = 4000
SHAPES_BAR = 0.95
SENTIMENT_BAR = 0.85

_BATCH = 50


def detect(model: ShapesDetector, scenes: Sequence[Scene]) -> list[Detections]:
    """Return what the detector finds in each scene, boxes in pixels."""
    found: list[Detections] = []
    with torch.inference_mode():
        for start in range(0, len(scenes), _BATCH):
            pictures = np.stack([scene.image for scene in scenes[start : start + _BATCH]])
            boxes, scores, labels = model(normalise(torch.from_numpy(pictures)))
            rows = zip((boxes * SIZE).numpy(), scores.numpy(), labels.numpy(), strict=True)
            found += [Detections(*row) for row in rows]
    return found


def shapes_precisions(model: ShapesDetector, scenes: Sequence[Scene], iou: float) -> list[float]:
    """Return the average precision of each class, in the order of `LABELS`."""
    truths = [Truth(scene.boxes, scene.labels) for scene in scenes]
    return average_precisions(detect(model, scenes), truths, len(LABELS), iou)


def accuracy(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the share of positions where the two agree."""
    return sum(a == b for a, b in zip(found, wanted, strict=True)) / len(wanted)


def measure_shapes(table: Table) -> float:
    """Add the detector's rows to the table and return its mAP@0.5."""
    model = load_shapes()
    scenes = scene_series(HELD_OUT_SEED, SCENES)
    precisions = shapes_precisions(model, scenes, 0.5)
    mean = float(np.mean(precisions))
    strict = float(np.mean(shapes_precisions(model, scenes, 0.75)))
    table.add_row("shapes", f"mAP@0.5, {SCENES} held-out scenes", f"{mean:.4f}", str(SHAPES_BAR))
    for label, precision in zip(LABELS, precisions, strict=True):
        table.add_row("", f"AP@0.5, {label}", f"{precision:.4f}", "")
    table.add_row("", "mAP@0.75", f"{strict:.4f}", "")
    return mean


def measure_sentiment(table: Table) -> tuple[float, list[str]]:
    """Add the classifier's rows; return its held-out accuracy and the hand-written misses."""
    model, tokenizer = load_sentiment()
    held_out = sentences(random.Random(HELD_OUT_SEED), SENTENCES, "test")
    texts, labels = zip(*held_out, strict=True)
    score = accuracy(classify(model, tokenizer, list(texts)), labels)
    written = [text for text, _ in HAND_WRITTEN]
    guesses = classify(model, tokenizer, written)
    pairs = zip(guesses, HAND_WRITTEN, strict=True)
    misses = [text for guess, (text, label) in pairs if guess != label]
    right = f"{len(written) - len(misses)} of {len(written)}"
    what = f"accuracy, {SENTENCES} sentences of held-out structures"
    table.add_row("sentiment", what, f"{score:.4f}", str(SENTIMENT_BAR))
    table.add_row("", "hand-written sentences", right, "")
    return score, misses


def main() -> int:
    """Print the measured numbers; return 1 if a model is below its bar."""
    console = Console()
    table = Table("model", "measure", "value", "bar", title="demo models")
    precision = measure_shapes(table)
    score, misses = measure_sentiment(table)
    console.print(table)
    for text in misses:
        console.print(f"hand-written sentence with the wrong label: {text}")
    return 0 if precision >= SHAPES_BAR and score >= SENTIMENT_BAR else 1


if __name__ == "__main__":
    sys.exit(main())
