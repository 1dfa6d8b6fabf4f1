"""The detector's outputs keep their contract and the committed weights have learnt something."""

from pathlib import Path

import numpy as np
import torch

from inferctl.demo.evaluate import HELD_OUT_SEED, shapes_precisions
from inferctl.demo.scenes import scene_series
from inferctl.demo.shapes import build, detection_loss
from inferctl.demo.train_shapes import flip, train
from inferctl.demo.weights import SHAPES_WEIGHTS, load_shapes, save_weights


def test_outputs_have_the_documented_shapes_and_order() -> None:
    """Thirty-two boxes in 0..1 for each image, best first."""
    with torch.inference_mode():
        boxes, scores, labels = build()(torch.randn(2, 3, 160, 160))
    assert boxes.shape == (2, 32, 4)
    assert labels.dtype == torch.int64
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    assert (scores.diff(dim=1) <= 0).all()


def test_exact_boxes_cost_less_than_wrong_ones() -> None:
    """The loss prefers the distances that give the true box."""
    boxes = torch.tensor([[[60.0, 60.0, 100.0, 100.0]]])
    labels = torch.tensor([[1]])
    heat = torch.full((1, 3, 20, 20), -4.0)
    centres = (torch.arange(20) + 0.5) * 8
    right = torch.stack([centres - 60, centres - 60, 100 - centres, 100 - centres])
    columns, rows = right[:, None, :].expand(4, 20, 20), right[:, :, None].expand(4, 20, 20)
    sides = torch.stack([columns[0], rows[1], columns[2], rows[3]]).unsqueeze(0)
    exact = detection_loss(heat, sides, boxes, labels)
    assert exact < detection_loss(heat, sides * 0.5, boxes, labels)


def test_flipping_moves_boxes_with_the_picture() -> None:
    """A white patch stays inside its box in every mirror image."""
    images = torch.zeros(1, 160, 160, 3, dtype=torch.uint8)
    images[0, 20:40, 100:130] = 255
    boxes = torch.tensor([[[100.0, 20.0, 130.0, 40.0]]])
    for across, down in ((True, False), (False, True), (True, True)):
        turned, moved = flip(images, boxes, across=across, down=down)
        left, top, right, bottom = (int(edge) for edge in moved[0, 0].tolist())
        assert turned[0, top:bottom, left:right].min() == 255
        assert int((turned > 0).sum()) == (bottom - top) * (right - left) * 3


def test_committed_weights_are_small_and_load_strictly() -> None:
    """Every tensor has its place, and the file stays small enough to commit."""
    assert SHAPES_WEIGHTS.stat().st_size < 2_000_000
    assert not load_shapes().training


def test_committed_weights_detect_held_out_shapes() -> None:
    """Random weights score about 0 here."""
    precisions = shapes_precisions(load_shapes(), scene_series(HELD_OUT_SEED, 40), iou=0.5)
    assert np.mean(precisions) >= 0.9


def test_a_trained_detector_can_be_saved_and_loaded(tmp_path: Path) -> None:
    """A short run leaves a checkpoint that gives the same outputs, and no other file."""
    model = train(steps=3, scenes=32)
    save_weights(model, tmp_path / "shapes.safetensors")
    image = torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        _, before, _ = model(image)
        _, after, _ = load_shapes(tmp_path / "shapes.safetensors")(image)
    assert torch.equal(before, after)
    assert [file.name for file in tmp_path.iterdir()] == ["shapes.safetensors"]
