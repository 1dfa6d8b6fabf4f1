"""Factories are found, called, and blamed for what goes wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inferctl.errors import CheckpointError, UsageError
from inferctl.export.factory import build_module

from .conftest import factory


def test_a_factory_is_imported_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    (tmp_path / "ownproject.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(2, 2).double().train()\n"
    )
    module, _ = build_module("ownproject:build")
    assert not module.training
    assert next(module.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("nowhere.at.all:build", "cannot import nowhere.at.all: ModuleNotFoundError"),
        ("classifier", "does not name a function"),
        (":classifier", "does not name a function"),
        (factory("missing"), "has no function 'missing'"),
        (factory("SIDE"), "has no function 'SIDE'"),
        (factory("not_a_module"), "returns an int, not an nn.Module .*; return the model itself"),
        (factory("failing"), "the factory fails: KeyError: 'weights/backbone'"),
        (factory("own_error"), r"the factory fails: OwnError: config missing \("),
        (factory("exiting"), "the factory fails: SystemExit: 2"),
    ],
)
def test_a_factory_that_does_not_work_is_blamed(spec: str, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        build_module(spec)


def test_an_error_of_our_own_passes_through_a_factory() -> None:
    with pytest.raises(CheckpointError, match=r"^raised by inferctl itself$"):
        build_module(factory("our_error"))


def test_the_functions_of_a_module_are_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = "".join(f"def make_{n}(): ...\n" for n in range(7))
    (tmp_path / "offering.py").write_text(
        f"from pathlib import Path\nSIZE = 3\ndef _own(): ...\n{names}"
    )
    (tmp_path / "offeringnothing.py").write_text("SIZE = 3\n")
    with pytest.raises(UsageError) as caught:
        build_module("offering:build")
    assert caught.value.hint == "it has make_0, make_1, make_2, make_3, make_4"
    with pytest.raises(UsageError, match="it has no functions at all"):
        build_module("offeringnothing:build")


def test_values_are_offered_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A positional-only parameter and `**kwargs` ask for nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "asking.py").write_text(
        "import torch\n"
        "def build(hidden=1, /, width=1, *, depth=1, **others):\n"
        "    assert not others\n"
        "    return torch.nn.Linear(width + depth, hidden)\n"
    )
    offered = {"hidden": 9, "width": 2, "depth": 3, "lr": 0.1}
    module, notes = build_module("asking:build", offered)
    assert module.weight.shape == (1, 5)
    assert notes == ("passed hyper_parameters to the factory: width=2, depth=3",)
    assert build_module("asking:build")[1] == ()


def test_a_callable_without_a_signature_is_offered_nothing() -> None:
    with pytest.raises(UsageError, match=r"returns a dict, not an nn\.Module"):
        build_module("builtins:dict", {"classes": 3})
