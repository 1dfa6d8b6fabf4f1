"""Checkpoints of tiny models with settled weights, and one published bundle of each kind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from inferctl.bundles.manifest import ImageInput
from inferctl.export import ExportRequest, ExportResult, export_bundle
from inferctl.export.loaded import LoadedModel

from . import tinymodels
from .huggingface.families import save
from .words import write_tokenizer

MakeRequest = Callable[..., ExportRequest]
LoadTiny = Callable[[str], LoadedModel]
Saved = Callable[[str], Path]
Exported = Callable[[str], ExportResult]


@pytest.fixture(scope="session", autouse=True)
def untraced_exporter() -> Iterator[None]:
    """torch's exporter without coverage: of its hundreds of thousands of calls none is ours, and to
    look at each takes a quarter of the time that all exports take."""
    export = torch.onnx.export

    @wraps(export)
    def untraced(*arguments: Any, **options: Any) -> Any:
        trace = sys.gettrace()
        sys.settrace(None)
        try:
            return export(*arguments, **options)
        finally:
            sys.settrace(trace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", untraced)
        yield


def settle(module: nn.Module) -> nn.Module:
    """Random weights large enough for scores that differ, the same in every run."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module.eval()


def calm(module: nn.Module) -> nn.Module:
    """Random weights of a size that keeps values between layers where they were."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 100
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * (2 / fan_in) ** 0.5)
        head = getattr(module, "head", None)
        if head is not None:
            head.weight.mul_(8)
    return module.eval()


def save_torch(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def factory(name: str) -> str:
    return f"{tinymodels.__name__}:{name}"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints by name: classifier.pt, detector.safetensors, words.pt, bert/, tokenizer.json."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_torch(settle(tinymodels.Classifier()).state_dict(), folder / "classifier.pt")
    save_file(settle(tinymodels.Detector()).state_dict(), folder / "detector.safetensors")
    save_torch(settle(tinymodels.Words()).state_dict(), folder / "words.pt")
    save_torch(calm(tinymodels.DeepClassifier()).state_dict(), folder / "deep.pt")
    save_torch(calm(tinymodels.DeepDetector()).state_dict(), folder / "boxes.pt")
    write_tokenizer(folder / "tokenizer.json")
    write_bert(folder / "bert")
    return folder


def write_bert(folder: Path) -> Path:
    config = BertConfig(
        vocab_size=tinymodels.VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=40,
        id2label={0: "negative", 1: "positive"},
        label2id={"negative": 0, "positive": 1},
    )
    settle(BertForSequenceClassification(config)).save_pretrained(folder)
    write_tokenizer(folder / "tokenizer.json")
    (folder / "README.md").write_text("# A tiny model\n")
    return folder


@pytest.fixture(scope="session")
def load_tiny() -> LoadTiny:
    """Image models of `tinymodels` by name, with calm weights."""

    def load(name: str) -> LoadedModel:
        return LoadedModel(
            module=calm(getattr(tinymodels, name)()),
            task="image-detection" if "Detector" in name else "image-classification",
            name="tiny",
            labels=("cat", "dog", "owl"),
            weights=Path("tiny.pt"),
            sha256="0" * 64,
            image=ImageInput(height=tinymodels.SIDE, width=tinymodels.SIDE),
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
        )

    return load


@pytest.fixture
def classify(store: Path, tmp_path: Path) -> MakeRequest:
    """Requests to export the tiny classifier; keywords replace parts of them."""
    request = ExportRequest(
        store / "classifier.pt",
        factory=factory("classifier"),
        task="image-classification",
        labels=("cat", "dog", "owl"),
        image_size=(tinymodels.SIDE, tinymodels.SIDE),
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.3, 0.4),
        output=tmp_path / "models",
    )
    return lambda **parts: replace(request, **parts)


def requests(store: Path, output: Path) -> dict[str, ExportRequest]:
    """Exports by task, `text-factory` being a text model from a state dict."""
    side = (tinymodels.SIDE, tinymodels.SIDE)
    return {
        "image-classification": ExportRequest(
            store / "classifier.pt",
            factory=factory("classifier"),
            task="image-classification",
            labels=("cat", "dog", "owl"),
            image_size=side,
            mean=(0.5, 0.4, 0.3),
            std=(0.2, 0.3, 0.4),
            output=output,
        ),
        "image-detection": ExportRequest(
            store / "detector.safetensors",
            factory=factory("Detector"),
            task="image-detection",
            labels=("cat", "dog", "owl"),
            image_size=side,
            output=output,
        ),
        "text-classification": ExportRequest(store / "bert", output=output),
        "text-factory": ExportRequest(
            store / "words.pt",
            factory=factory("Words"),
            labels=("bad", "good"),
            tokenizer=store / "tokenizer.json",
            max_tokens=20,
            output=output,
        ),
    }


@pytest.fixture(scope="session")
def published(store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportResult]:
    """The bundles of `requests` by the same names."""
    output = tmp_path_factory.mktemp("models")
    return {name: export_bundle(request) for name, request in requests(store, output).items()}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The directory of a family of transformers; not to be written to."""
    folder = tmp_path_factory.mktemp("families")
    return cache(lambda family: save(family, folder / family))


@pytest.fixture(scope="session")
def exported(saved: Saved, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The bundle of a family."""
    output = tmp_path_factory.mktemp("bundles")
    return cache(lambda family: export_bundle(ExportRequest(saved(family), output=output)))
