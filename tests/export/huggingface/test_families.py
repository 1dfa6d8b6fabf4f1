"""Every family's bundle answers what transformers answers to the same picture or text."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from inferctl.bundles.repository import open_bundle
from inferctl.demo.metrics import box_iou
from inferctl.tasks.decode import decode_image
from tests.tasks.pictures import encoded, photo

from ..conftest import Exported
from .families import DETECTORS, FAMILIES, IMAGES, TEXTS, build, usual

ANY_SIZE = 10**9
# Pixels may differ by one level of 255 where only the crop is resized; else they are the same.
CROPPED_TOLERANCE, TOLERANCE = 5e-3, 1e-3
SENTENCES = ("the film was long", "not bad", "terrible service and cold food the food was cold")

Arrays = dict[str, np.ndarray]


def jpegs() -> list[bytes]:
    """Two pictures with nothing in common, one lying and one standing."""
    grain = np.random.default_rng(1).integers(0, 256, (90, 50, 3)).astype(np.uint8)
    return [encoded(photo(120, 80), "JPEG"), encoded(Image.fromarray(grain), "JPEG")]


def run(path: Path, feeds: Arrays) -> Arrays:
    session = onnxruntime.InferenceSession(path / "model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def run_on_jpegs(path: Path) -> Arrays:
    """What a server does: decode as the manifest says, and run the graph on the whole batch."""
    image = open_bundle(path).manifest.image
    assert image is not None
    rows = [decode_image(data, image, ANY_SIZE, "exact").array for data in jpegs()]
    return run(path, {"image": np.stack(rows)})


def transformers_on(family: str, data: bytes) -> tuple[Any, Any]:
    """The processor, and the model's answer to one picture that the processor prepared."""
    model, processor = build(family)
    with torch.no_grad(), Image.open(io.BytesIO(data)) as picture:
        return processor, model(**processor(picture, return_tensors="pt"))


@pytest.mark.parametrize("family", usual(IMAGES))
def test_a_picture_gets_the_label_and_score_that_transformers_gives(
    exported: Exported, family: str
) -> None:
    scores = run_on_jpegs(exported(family).path)["scores"]
    expected = np.stack(
        [transformers_on(family, data)[1].logits.softmax(-1)[0].numpy() for data in jpegs()]
    )
    assert abs(expected[0] - expected[1]).max() > 4 * CROPPED_TOLERANCE, "the pictures look alike"
    np.testing.assert_allclose(scores, expected, atol=CROPPED_TOLERANCE)
    assert (scores.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("family", usual(DETECTORS))
def test_a_picture_gets_the_boxes_that_transformers_gives(exported: Exported, family: str) -> None:
    answer = run_on_jpegs(exported(family).path)
    for row, data in enumerate(jpegs()):
        processor, outputs = transformers_on(family, data)
        (expected,) = processor.post_process_object_detection(outputs, threshold=0)
        best = expected["scores"].argsort(descending=True)
        scores = expected["scores"][best].numpy()
        assert scores[0] - scores[-1] > 10 * TOLERANCE, "the scores do not differ"
        np.testing.assert_allclose(answer["scores"][row][: len(scores)], scores, atol=TOLERANCE)
        for number in best[:5].tolist():
            assert_found(answer, row, {name: value[number] for name, value in expected.items()})


def assert_found(answer: Arrays, row: int, wanted: dict[str, Any]) -> None:
    """One of the row's detections has this label, score and box."""
    overlap = box_iou(wanted["boxes"].numpy()[None], answer["boxes"][row])[0]
    same = (
        (answer["labels"][row] == int(wanted["labels"]))
        & (abs(answer["scores"][row] - float(wanted["scores"])) <= TOLERANCE)
        & (overlap > 0.98)
    )
    assert same.any(), wanted


@pytest.mark.parametrize("family", usual(TEXTS))
def test_a_text_gets_the_score_that_transformers_gives(exported: Exported, family: str) -> None:
    path = exported(family).path
    model, _ = build(family)
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    answers = []
    for sentence in SENTENCES:
        ids = np.array([tokenizer.encode(sentence).ids], np.int64)
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        with torch.no_grad():
            tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
            expected = model(**tensors).logits.softmax(-1).numpy()
        answers.append(run(path, feeds)["scores"])
        np.testing.assert_allclose(answers[-1], expected, atol=1e-4)
    assert np.ptp(np.concatenate(answers)[:, 0]) > 0.01, "the texts look alike"


@pytest.mark.parametrize("family", usual(FAMILIES))
def test_the_report_says_where_attention_was_drawn_in_single_steps(
    exported: Exported, family: str
) -> None:
    report = json.loads((exported(family).path / "report.json").read_bytes())
    notes = [note[:37] for note in report["checkpoint"]["notes"]]
    assert notes == ["drawn with attention in single steps,"] * (family == "swin")


@pytest.mark.parametrize("family", usual(FAMILIES))
def test_every_comparison_of_a_family_s_export_compared_something(
    exported: Exported, family: str
) -> None:
    result = exported(family)
    report = json.loads((result.path / "report.json").read_bytes())
    against = {"pytorch", "each row alone", *({"each row unpadded"} if family in TEXTS else ())}
    assert {check["against"] for check in report["checks"]} == against
    assert all(check["compared"] > 0 for check in report["checks"])
    assert {check["rows"] for check in report["checks"]} == {1, 2, 5}
