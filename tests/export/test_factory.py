"""Factories are found, called, and blamed for what goes wrong in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inferctl.errors import CheckpointError, UsageError
from inferctl.export.factory import build_module, load_with_factory
from inferctl.export.sniff import Kind

from .conftest import MakeRequest, factory


def test_a_factory_is_imported_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    (tmp_path / "ownproject.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Linear(2, 2).double().train()\n"
    )
    module = build_module("ownproject:build")
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


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"task": None}, "does not say what it predicts"),
        ({"factory": None}, "has weights but no model"),
        ({"labels": ()}, "no label names"),
        ({"image_size": None}, "--image-size"),
        ({"task": "text-classification"}, "needs its tokenizer"),
        ({"card": Path("missing.md")}, "cannot read the card"),
        ({"checkpoint": Path("ÄÖ.pt")}, "no name can be made|no such|cannot read"),
    ],
)
def test_a_missing_flag_is_asked_for(
    classify: MakeRequest, parts: dict[str, object], text: str
) -> None:
    with pytest.raises((UsageError, CheckpointError), match=text):
        load_with_factory(classify(**parts), Kind.TORCH_ZIP)


def test_a_card_is_no_place_for_megabytes(classify: MakeRequest, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_bytes(b"x" * 1_000_001)
    with pytest.raises(UsageError, match="over 1 MB"):
        load_with_factory(classify(card=card), Kind.TORCH_ZIP)


def test_a_text_model_needs_its_longest_text(classify: MakeRequest, store: Path) -> None:
    request = classify(task=None, tokenizer=store / "tokenizer.json")
    with pytest.raises(UsageError, match="--max-tokens"):
        load_with_factory(request, Kind.TORCH_ZIP)
