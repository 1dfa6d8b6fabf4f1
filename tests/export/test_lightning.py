"""Checkpoints of PyTorch Lightning: which attribute the model was, and what built it."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest
import torch

from inferctl.errors import CheckpointError, UsageError
from inferctl.export import export_bundle
from inferctl.export.checkpoint import find_weights
from inferctl.export.lightning import is_lightning, plain_hyperparameters

from . import kinds
from .conftest import MakeRequest, factory, save_torch

STATE = dict(kinds.classifier().state_dict())


def test_what_a_trainer_wrote_is_recognised() -> None:
    content = kinds.lightning_content(STATE, classes=3)
    found = find_weights(content, None, where="last.ckpt")
    assert is_lightning(content)
    assert (found.lightning, found.hyperparameters) == (True, {"classes": 3})
    assert found.notes == ("weights taken from 'state_dict'",)
    assert not find_weights({"state_dict": STATE}, None, where="f").lightning


@pytest.mark.parametrize("prefix", ["model.", "net.", "net._orig_mod.", "model.module.", ""])
def test_the_attribute_that_is_the_model_is_found_and_reported(
    classify: MakeRequest, tmp_path: Path, prefix: str
) -> None:
    path = save_torch(kinds.lightning_content(STATE, prefix), tmp_path / "last.ckpt")
    notes = export_bundle(classify(checkpoint=path)).loaded.notes
    assert [note for note in notes if "stripped" in note] == [
        f"stripped '{part}.' from {len(STATE)} keys" for part in prefix.split(".")[:-1]
    ]


def test_weights_of_other_attributes_are_left_aside_and_reported(
    classify: MakeRequest, tmp_path: Path
) -> None:
    content = kinds.lightning_content(STATE, "net.")
    content["state_dict"]["criterion.weight"] = torch.ones(3)
    path = save_torch(content, tmp_path / "last.ckpt")
    notes = export_bundle(classify(checkpoint=path)).loaded.notes
    assert "left aside 1 weights of other attributes, such as 'criterion.weight'" in notes


def test_an_attribute_that_lacks_a_weight_is_refused(classify: MakeRequest, tmp_path: Path) -> None:
    content = kinds.lightning_content(STATE, "net.")
    del content["state_dict"]["net.head.bias"]
    path = save_torch(content, tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match=r"1 weights are missing, such as 'head\.bias'"):
        export_bundle(classify(checkpoint=path))


def test_the_factory_gets_what_it_names_and_nothing_else(
    classify: MakeRequest, tmp_path: Path
) -> None:
    content = kinds.lightning_content(STATE, classes=3, lr=0.1)
    path = save_torch(content, tmp_path / "last.ckpt")
    named = export_bundle(classify(checkpoint=path, factory=factory("Classifier"))).loaded.notes
    unnamed = export_bundle(classify(checkpoint=path)).loaded.notes
    assert "passed hyper_parameters to the factory: classes=3" in named
    assert not [note for note in unnamed if "hyper_parameters" in note]


def test_a_factory_that_fails_with_them_is_told_so(classify: MakeRequest, tmp_path: Path) -> None:
    content = kinds.lightning_content(STATE, classes="many")
    path = save_torch(content, tmp_path / "last.ckpt")
    with pytest.raises(UsageError, match=r"factory fails: .*; it was called with classes='many'"):
        export_bundle(classify(checkpoint=path, factory=factory("Classifier")))


@pytest.mark.parametrize(
    "kept", [None, 3, [("classes", 3)], {3: 4}, {"classes": object()}, {"a": [torch.zeros(1)]}]
)
def test_only_plain_values_are_taken(kept: object) -> None:
    assert plain_hyperparameters({"hyper_parameters": kept}) == {}


def test_nested_plain_values_are_taken_to_a_depth() -> None:
    nested: object = 1
    for _ in range(9):
        nested = [nested]
    kept = collections.OrderedDict(widths=(1, 2), block={"norm": None}, nested=nested)
    assert set(plain_hyperparameters({"hyper_parameters": kept})) == {"widths", "block"}
