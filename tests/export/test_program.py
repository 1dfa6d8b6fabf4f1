"""torch.export programs: what they must be free of, and what they must take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from inferctl.bundles.manifest import ImageInput
from inferctl.errors import CheckpointError
from inferctl.export import export_bundle
from inferctl.export.program import load_program

from . import kinds, tinymodels
from .conftest import MakeRequest

IMAGE = ImageInput(height=tinymodels.SIDE, width=tinymodels.SIDE)


def load(path: Path) -> nn.Module:
    return load_program(path, "image-classification", IMAGE)


def test_a_program_answers_as_before_without_its_samples(tmp_path: Path) -> None:
    module = load(kinds.save_program(kinds.classifier(), tmp_path / "model.pt2"))
    pictures = torch.rand(5, 3, tinymodels.SIDE, tinymodels.SIDE)
    with torch.no_grad():
        assert torch.equal(module(pictures), kinds.classifier()(pictures))
    assert module.eval() is module


class Masked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        bright = (x > 0.2) & (x < 0.9) | (x > 0.95)
        return (x * (bright ^ (x > 0.5))).sum((2, 3))


def test_masks_may_be_joined(tmp_path: Path) -> None:
    module = load(kinds.save_program(Masked(), tmp_path / "model.pt2"))
    pictures = torch.rand(5, 3, tinymodels.SIDE, tinymodels.SIDE)
    assert torch.equal(module(pictures), Masked()(pictures))


def test_a_batch_of_one_size_is_refused_with_what_to_do(
    classify: MakeRequest, tmp_path: Path
) -> None:
    path = kinds.save_program(kinds.classifier(), tmp_path / "fixed.pt2", dynamic_shapes=None)
    with pytest.raises(CheckpointError) as caught:
        export_bundle(classify(checkpoint=path, factory=None))
    assert str(caught.value) == (
        f"the program was exported for a batch of 2 and takes no other ({path}); export it again "
        'with dynamic_shapes={"x": {0: Dim("batch")}}, Dim being torch.export.Dim'
    )


def test_texts_of_one_length_are_refused(tmp_path: Path) -> None:
    texts = torch.ones(2, 7, dtype=torch.int64)
    batch = {0: Dim("batch")}
    module = kinds.settle(tinymodels.Words())
    path = kinds.save_program(module, tmp_path / "words.pt2", (texts, texts), (batch, batch))
    with pytest.raises(CheckpointError, match=r"a tokens of 7|tokens of 7"):
        load_program(path, "text-classification", None)


def test_a_program_of_another_task_is_refused(tmp_path: Path) -> None:
    path = kinds.save_program(kinds.classifier(), tmp_path / "model.pt2")
    with pytest.raises(CheckpointError, match=r"takes 1 inputs, its task feeds 2 .*check --task"):
        load_program(path, "text-classification", None)


def test_a_program_without_an_axis_of_rows_is_refused(tmp_path: Path) -> None:
    class Number(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2

    path = kinds.save_program(Number(), tmp_path / "n.pt2", (torch.tensor(1.0),), None)
    with pytest.raises(CheckpointError, match="no axis of batch"):
        load(path)


@pytest.mark.parametrize("under", [torch.no_grad, torch.enable_grad])
def test_a_program_with_a_mode_inside_it_is_exported(
    classify: MakeRequest, tmp_path: Path, under: object
) -> None:
    class Modal(tinymodels.Classifier):
        def forward(self, x: Tensor) -> Tensor:
            with under():
                return super().forward(x)

    path = kinds.save_program(kinds.settle(Modal()), tmp_path / "modal.pt2")
    assert export_bundle(classify(checkpoint=path, factory=None)).checks


def test_sizes_that_are_computed_are_exported(classify: MakeRequest, tmp_path: Path) -> None:
    class Sized(tinymodels.Classifier):
        """Expressions of the number of rows in its sizes."""

        def forward(self, x: Tensor) -> Tensor:
            rows = x.shape[0]
            twice = torch.cat([x, x]).reshape(2 * rows, -1)
            return super().forward(twice[:rows].reshape(rows, 3, tinymodels.SIDE, tinymodels.SIDE))

    path = kinds.save_program(kinds.settle(Sized()), tmp_path / "sized.pt2")
    assert export_bundle(classify(checkpoint=path, factory=None)).checks


def test_a_program_that_views_its_input_is_exported(classify: MakeRequest, tmp_path: Path) -> None:
    class Flat(nn.Module):
        """Pictures come as permuted memory, of which there is no such view."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3 * tinymodels.SIDE**2, tinymodels.CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(x.flatten(1))

    path = kinds.save_program(kinds.settle(Flat()), tmp_path / "flat.pt2")
    assert export_bundle(classify(checkpoint=path, factory=None)).checks
