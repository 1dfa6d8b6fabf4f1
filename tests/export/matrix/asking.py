"""Exports cells, serves them by one process and holds its answers against PyTorch's."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inferctl.errors import InferctlError
from inferctl.export import export_bundle
from tests.e2e.service import Service
from tests.export.conftest import Exported
from tests.export.kinds import silence

from .cells import Cell, refusal_of
from .checkpoints import CLASSES, CannotBeSaved, is_detector, is_text, request_of
from .expected import Detection, expected, requests

# Scores are told to four digits. Pixels may differ by one level of 255 where a crop is resized.
TEXT_TOLERANCE, PICTURE_TOLERANCE, DETECTION_TOLERANCE = 2e-4, 5e-3, 1e-3
# Boxes are told to a hundredth of a pixel.
PIXEL_TOLERANCE = 0.1
# Two requests make a batch; the first waits for the second, and no longer once it is there.
SETTINGS = (
    "batching.max_batch_rows=2", "batching.max_wait_ms=2000", "batching.max_padding=1",
    "runtime.decode=exact", "runtime.instances=1", "server.workers=1", "limits.max_concurrent=2",
)  # fmt: skip


def export_cells(
    cells: Iterable[Cell], folder: Path, exported: Exported | None = None
) -> dict[Cell, str]:
    """Export each cell into `folder`/models; what those say that are refused.

    Directories are taken from `exported` where it is given.
    """
    said = {}
    for cell in cells:
        try:
            if exported is not None and cell.kind == "directory" and refusal_of(cell) is None:
                path = exported(cell.family).path
                shutil.copytree(path, folder / "models" / cell.name / path.name)
                continue
            place = folder / cell.name
            place.mkdir()
            with silence():
                request = request_of(cell, place)
            export_bundle(replace(request, output=folder / "models"))
        except (CannotBeSaved, InferctlError) as refused:
            said[cell] = str(refused)
    return said


@contextmanager
def serving(folder: Path) -> Iterator[Service]:
    """`inferctl serve` of all models of a folder."""
    flags = [part for setting in SETTINGS for part in ("--set", setting)]
    service = Service([str(folder / "models"), "--port", "0", *flags], folder)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.stop()


def assert_answers(cell: Cell, service: Service) -> None:
    """The requests of a family, sent at once, get PyTorch's answers out of one batch."""
    wanted = expected(cell)
    bodies = requests(cell.family)
    with ThreadPoolExecutor(len(bodies)) as clients:
        answers = list(clients.map(lambda body: ask(cell, service, body), bodies))
    if is_detector(cell.family):
        for answer, detections in zip(answers, wanted, strict=True):
            assert_detections(answer["detections"], detections)
    else:
        assert_scores(cell, answers, np.stack(wanted))
    # The engine counts a batch after it has handed out its answers.
    service.wait_for_metric(f'inference_batch_size_sum{{model="{cell.name}"}}', len(bodies))
    assert service.metric(f'inference_batch_size_count{{model="{cell.name}"}}') == 1


def ask(cell: Cell, service: Service, body: str | bytes) -> Any:
    """One request; every detection is asked for."""
    path = f"/models/{cell.name}/predict"
    if isinstance(body, str):
        answer = service.post_json(path, {"text": body})
    else:
        threshold = "?confidence_threshold=0" if is_detector(cell.family) else ""
        answer = service.request(path + threshold, body, {"Content-Type": "image/jpeg"})
    assert answer.status == 200, answer.body
    return answer.json


def assert_scores(cell: Cell, answers: list[Any], wanted: np.ndarray) -> None:
    """Every label's score, and the best label; the two requests are no alike."""
    text = is_text(cell.family)
    labels = ("negative", "positive") if text else CLASSES[: wanted.shape[1]]
    tolerance = TEXT_TOLERANCE if text else PICTURE_TOLERANCE
    assert abs(wanted[0] - wanted[1]).max() > 4 * tolerance, "the two requests look alike"
    for answer, scores in zip(answers, wanted, strict=True):
        found = (
            answer["scores"] if text else {p["label"]: p["score"] for p in answer["predictions"]}
        )
        np.testing.assert_allclose([found[label] for label in labels], scores, atol=tolerance)
        assert answer["label"] == labels[int(scores.argmax())]


def assert_detections(found: list[Any], wanted: list[Detection]) -> None:
    """The same scores in the same order; of the best, each with its label and its box.

    transformers gives no more detections than there are queries.
    """
    scores = [detection.score for detection in wanted]
    confidences = [one["confidence"] for one in found[: len(wanted)]]
    assert scores[0] - scores[-1] > 4 * DETECTION_TOLERANCE, "the scores do not differ"
    np.testing.assert_allclose(confidences, scores, atol=DETECTION_TOLERANCE)
    for detection in wanted[:5]:
        assert any(is_same(one, detection) for one in found), detection


def is_same(found: Any, wanted: Detection) -> bool:
    """A detection of an answer is this one; near-equal scores may have changed places."""
    return (
        found["label"] == CLASSES[wanted.label]
        and abs(found["confidence"] - wanted.score) <= DETECTION_TOLERANCE
        and np.allclose(found["bbox"], wanted.box, rtol=0, atol=PIXEL_TOLERANCE)
    )
