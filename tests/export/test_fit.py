"""Weights fit a module completely, or not at all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from inferctl.errors import CheckpointError
from inferctl.export.checkpoint import Weights
from inferctl.export.fit import fit_weights

from .conftest import settle
from .tinymodels import Classifier, Tied


class Inner(nn.Module):
    """A module whose own weights begin with `model.`."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Classifier()


def trained() -> dict[str, Tensor]:
    return dict(settle(Classifier()).state_dict())


def fit(tensors: dict[str, Tensor], module: nn.Module | None = None) -> tuple[str, ...]:
    return fit_weights(module or Classifier(), Weights(tensors), where="file.pt")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod.model."])
def test_prefixes_of_wrappers_are_stripped_and_reported(prefix: str) -> None:
    module = Classifier()
    notes = fit({f"{prefix}{name}": value for name, value in trained().items()}, module)
    assert torch.equal(module.head.weight, trained()["head.weight"])
    assert len(notes) == prefix.count(".")
    assert notes[0].startswith("stripped")


@pytest.mark.parametrize("prefix", ["", "model."])
def test_a_prefix_that_the_module_has_itself_stays(prefix: str) -> None:
    module = Inner()
    tensors = {f"{prefix}model.{name}": value for name, value in trained().items()}
    assert len(fit(tensors, module)) == len(prefix and ["stripped"])
    assert torch.equal(module.model.head.weight, trained()["head.weight"])


def test_averaged_weights_fit_with_their_counter() -> None:
    averaged = AveragedModel(settle(Classifier()))
    notes = fit(dict(averaged.state_dict()))
    assert any("n_averaged" in note for note in notes)


@pytest.mark.row(178)
def test_a_missing_weight_is_never_left_at_random() -> None:
    tensors = trained()
    del tensors["head.bias"], tensors["conv.weight"]
    with pytest.raises(CheckpointError, match=r"2 weights are missing, such as 'conv.weight'"):
        fit(tensors)


def test_only_the_batch_counter_may_be_missing() -> None:
    tensors = trained()
    del tensors["norm.num_batches_tracked"]
    assert fit(tensors) == ()


@pytest.mark.row(178)
def test_unknown_weights_are_refused() -> None:
    with pytest.raises(
        CheckpointError, match=r"1 weights are unknown to the model, such as 'extra'"
    ):
        fit({**trained(), "extra": torch.zeros(1)})


@pytest.mark.row(178)
def test_shapes_are_named() -> None:
    with pytest.raises(
        CheckpointError,
        match=r"2 weights have another shape, such as 'head.weight': \[3, 4\] in .* \[5, 4\] in",
    ):
        fit(trained(), Classifier(5))


def test_keys_that_collide_without_their_prefix_are_refused() -> None:
    tensors = {f"module.{name}": value for name, value in trained().items()}
    with pytest.raises(CheckpointError, match="collide"):
        fit({**tensors, "head.bias": torch.zeros(3)})


def test_weights_that_are_nan_are_refused() -> None:
    tensors = trained()
    tensors["head.bias"] = torch.tensor([0.0, float("nan"), 0.0])
    with pytest.raises(CheckpointError, match=r"'head.bias' holds NaN"):
        fit(tensors)


def test_half_precision_weights_are_widened_and_reported() -> None:
    module = Classifier()
    tensors = {n: v.half() if v.is_floating_point() else v for n, v in trained().items()}
    assert fit(tensors, module) == ("float16 weights run as float32",)
    assert module.head.weight.dtype == torch.float32


def test_a_tied_weight_may_be_saved_once() -> None:
    module = Tied()
    assert fit({"second.weight": torch.full((4, 4), 7.0)}, module) == ()
    assert module.first.weight.detach().mean() == 7.0


def test_a_module_that_refuses_its_weights_is_reported() -> None:
    class Picky(Classifier):
        def load_state_dict(self, *args: object, **kwargs: object) -> None:
            raise RuntimeError("no\nnot these")

    with pytest.raises(CheckpointError, match="the weights do not load: no "):
        fit(trained(), Picky())
