"""What int8 costs and gains on the demo's trained models: `python -m benchmarks.precision`.

Accuracy is that on data kept from training: mAP of 500 scenes, accuracy of 4,000 sentences. Speed
is measured with one thread, the two graphs taking turns.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from benchmarks.command import run
from inferctl.bundles.manifest import Precision
from inferctl.check import CheckRequest, check_bundle
from inferctl.demo.evaluate import HELD_OUT_SEED, SCENES, SENTENCES
from inferctl.demo.grammar import sentences
from inferctl.demo.lexicon import POLARITIES
from inferctl.demo.metrics import Detections, Truth, average_precisions
from inferctl.demo.scenes import LABELS, SIZE, scene_series
from inferctl.demo.sentiment import MAX_TOKENS, pad
from inferctl.demo.weights import SENTIMENT_DIRECTORY, SHAPES_WEIGHTS
from inferctl.export import ExportRequest, export_bundle
from inferctl.export.runtime import Model

CALIBRATION_SEED, CALIBRATION_SCENES = 70_001, 128
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
DETECTION = ("boxes", "scores", "labels")
ROW_BATCH = 50


def main() -> None:
    """Export both models in both precisions, and measure them."""
    console = Console()
    table = Table("model", "measure", *PRECISIONS, "drop, points", title="int8 against fp32")
    with _folder() as folder:
        pictures = _calibration_pictures(folder / "pictures")
        shapes = [_shapes(folder, precision, pictures) for precision in PRECISIONS]
        texts = [_sentiment(folder, precision) for precision in PRECISIONS]
        for iou in (0.5, 0.75):
            found = [mean_precision(bundle, iou) for bundle in shapes]
            _add(table, "shapes", f"mAP@{iou}, {SCENES} held-out scenes", found)
        found = [accuracy(bundle) for bundle in texts]
        _add(table, "sentiment", f"accuracy, {SENTENCES} held-out sentences", found)
        console.print(table)
        for fp32, int8 in (shapes, texts):
            report = check_bundle(CheckRequest(int8, against=fp32))
            console.print(report.model, markup=False)
            for speed in report.speeds:
                console.print(f"  {speed.sentence()}", markup=False)
            if report.agreement is not None:
                console.print(f"  {report.agreement.sentence()}", markup=False)


def mean_precision(bundle: Path, iou: float) -> float:
    """Mean average precision of the detector on the held-out scenes."""
    model = Model(bundle / "model.onnx")
    scenes = scene_series(HELD_OUT_SEED, SCENES)
    found: list[Detections] = []
    for start in range(0, len(scenes), ROW_BATCH):
        pictures = np.stack([scene.image for scene in scenes[start : start + ROW_BATCH]])
        told = model.run(DETECTION, {"image": pictures}, "scenes")
        rows = zip(told["boxes"] * SIZE, told["scores"], told["labels"], strict=True)
        found += [Detections(*row) for row in rows]
    truths = [Truth(scene.boxes, scene.labels) for scene in scenes]
    return mean(average_precisions(found, truths, len(LABELS), iou))


def accuracy(bundle: Path) -> float:
    """Share of the held-out sentences that get their label, each run alone as in a quiet server."""
    model = Model(bundle / "model.onnx")
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    held_out = sentences(random.Random(HELD_OUT_SEED), SENTENCES, "test")
    right = 0
    for text, label in held_out:
        ids, mask = pad([tokenizer.encode(text).ids[:MAX_TOKENS]])
        feeds = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        scores = model.run(("scores",), feeds, "sentences")["scores"]
        right += POLARITIES[int(scores[0].argmax())] == label
    return right / len(held_out)


def _shapes(folder: Path, precision: Precision, pictures: Path) -> Path:
    request = ExportRequest(
        SHAPES_WEIGHTS,
        factory="inferctl.demo.shapes:build",
        task="image-detection",
        labels=LABELS,
        image_size=(SIZE, SIZE),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        output=folder,
        precision=precision,
        calibration_data=pictures if precision == "int8" else None,
    )
    return export_bundle(request).path


def _sentiment(folder: Path, precision: Precision) -> Path:
    return export_bundle(
        ExportRequest(SENTIMENT_DIRECTORY, output=folder, precision=precision)
    ).path


def _calibration_pictures(folder: Path) -> Path:
    """Scenes that are neither those of the training nor the held-out ones."""
    folder.mkdir()
    for number, scene in enumerate(scene_series(CALIBRATION_SEED, CALIBRATION_SCENES)):
        Image.fromarray(scene.image).save(folder / f"scene-{number:03}.png")
    return folder


def _add(table: Table, model: str, measure: str, values: list[float]) -> None:
    drop = (values[0] - values[1]) * 100
    table.add_row(model, measure, *(f"{value:.4f}" for value in values), f"{drop:+.2f}")


@contextmanager
def _folder() -> Iterator[Path]:
    with TemporaryDirectory() as name:
        yield Path(name)


if __name__ == "__main__":
    run(main)
