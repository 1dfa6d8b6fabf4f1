"""What a text module is fed, and in which order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inferctl.export.program import Program
from inferctl.export.wrap import text_inputs

from . import tinymodels
from .kinds import silence

SEGMENTS = ("input_ids", "token_type_ids", "attention_mask")


class Bert(nn.Module):
    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        return input_ids


class Segments(nn.Module):
    def forward(self, input_ids: Tensor, token_type_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return input_ids + token_type_ids * attention_mask


class Positions(nn.Module):
    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor) -> Tensor:
        return input_ids


class Anything(nn.Module):
    def forward(self, *inputs: Tensor) -> Tensor:
        return inputs[0]


@pytest.mark.parametrize("module", [tinymodels.Words, Bert, Positions, Anything])
def test_ids_and_mask_are_fed_by_place(module: type) -> None:
    assert text_inputs(module()) == ("input_ids", "attention_mask")


def test_segments_that_are_needed_are_fed_by_name() -> None:
    ids = torch.ones(2, 3, dtype=torch.int64)
    with silence():
        scripts = torch.jit.script(Segments()), torch.jit.trace(Segments(), (ids, ids, ids))
    for module in (Segments(), *scripts, Program(Segments(), SEGMENTS)):
        assert text_inputs(module) == SEGMENTS
