"""Trains the demo detector: `python -m inferctl.demo.train_shapes`."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress, track
from torch import Tensor

from inferctl.demo.scenes import SIZE, draw_scene
from inferctl.demo.shapes import ShapesDetector, detection_loss, normalise
from inferctl.demo.weights import SHAPES_WEIGHTS, save_weights

TRAINING_SEED = 20_001
STEPS = 1030
SCENES = 4000

_BATCH = 32
_RATE = 3e-3
_MOST_OBJECTS = 6


def draw_training_set(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return images uint8 [n, 160, 160, 3], boxes float32 [n, 6, 4] in pixels, labels int64 [n, 6].

    Scenes with fewer than six objects are padded with the label -1.
    """
    images = torch.empty(count, SIZE, SIZE, 3, dtype=torch.uint8)
    boxes = torch.zeros(count, _MOST_OBJECTS, 4)
    labels = torch.full((count, _MOST_OBJECTS), -1, dtype=torch.int64)
    for index in track(range(count), description="drawing scenes"):
        scene = draw_scene(np.random.default_rng([TRAINING_SEED, index]))
        images[index] = torch.from_numpy(scene.image)
        boxes[index, : len(scene.boxes)] = torch.from_numpy(scene.boxes)
        labels[index, : len(scene.labels)] = torch.from_numpy(scene.labels)
    return images, boxes, labels


def flip(images: Tensor, boxes: Tensor, *, across: bool, down: bool) -> tuple[Tensor, Tensor]:
    """Mirror images [B, H, W, 3] and their pixel boxes [B, N, 4] left-right, top-bottom or both."""
    if across:
        images = images.flip(2)
        boxes = torch.stack(
            [SIZE - boxes[..., 2], boxes[..., 1], SIZE - boxes[..., 0], boxes[..., 3]], dim=-1
        )
    if down:
        images = images.flip(1)
        boxes = torch.stack(
            [boxes[..., 0], SIZE - boxes[..., 3], boxes[..., 2], SIZE - boxes[..., 1]], dim=-1
        )
    return images, boxes


def train(steps: int, scenes: int = SCENES) -> ShapesDetector:
    """Train on `scenes` scenes from a fixed seed, so two runs see the same batches.

    The schedule needs 3 steps or more.
    """
    torch.manual_seed(TRAINING_SEED)
    images, boxes, labels = draw_training_set(scenes)
    model = ShapesDetector().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=_RATE,
        total_steps=steps,
        pct_start=max(0.05, 2 / steps),
        cycle_momentum=False,
    )
    with Progress() as progress:
        task = progress.add_task("training", total=steps)
        for picked in _batches(scenes, steps):
            across, down = (torch.rand(2) < 0.5).tolist()
            pictures, targets = flip(images[picked], boxes[picked], across=across, down=down)
            heat, sides = model.dense(normalise(pictures))
            loss = detection_loss(heat, sides, targets, labels[picked])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            progress.update(task, advance=1, description=f"training, loss {loss.item():.3f}")
    return model.eval()


def _batches(scenes: int, steps: int) -> Iterator[Tensor]:
    """Yield one index batch per step, going through the scenes in a new order each time."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < _BATCH:
            order = torch.cat([order, torch.randperm(scenes)])
        yield order[:_BATCH]
        order = order[_BATCH:]


def main() -> None:
    """Train, write the checkpoint and say how long it took."""
    parser = argparse.ArgumentParser(description="Train the demo shapes detector.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=SHAPES_WEIGHTS)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    began = time.perf_counter()
    model = train(arguments.steps)
    save_weights(model, arguments.out)
    seconds = time.perf_counter() - began
    Console().print(f"wrote {arguments.out} after {arguments.steps} steps in {seconds:.0f} s")


if __name__ == "__main__":
    main()
