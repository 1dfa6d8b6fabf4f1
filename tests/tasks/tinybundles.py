"""The smallest manifest of each task, and a tokenizer of a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, processors

from inferctl.bundles.manifest import (
    GRAPH_FILE,
    MANIFEST_FILE,
    TOKENIZER_FILE,
    Buckets,
    File,
    ImageInput,
    Manifest,
    Tensor,
    TextInput,
)
from inferctl.bundles.repository import Bundle
from inferctl.settings import LimitsSettings, ModelSettings, RuntimeSettings
from inferctl.tasks.base import Task
from inferctl.tasks.registry import task_for

LABELS = ("cat", "dog", "owl")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
MAX_TOKENS = 8
BOXES = 4


def tensor(name: str, dtype: Any, *shape: Any) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=("rows", *shape))


def manifest(**parts: Any) -> Manifest:
    return Manifest(
        **{
            "name": "tiny",
            "version": 3,
            "labels": LABELS,
            "opset": 18,
            "producer": "test",
            "created_at": "2026-01-01T00:00:00Z",
            "files": dict.fromkeys((GRAPH_FILE, TOKENIZER_FILE), File(bytes=0, sha256="0" * 64)),
            **parts,
        }
    )


def image_parts(height: int, width: int) -> dict[str, Any]:
    return {
        "image": ImageInput(height=height, width=width),
        "inputs": (tensor("image", "uint8", height, width, 3),),
    }


def detector(height: int = 8, width: int = 8, **parts: Any) -> Manifest:
    outputs = (
        tensor("boxes", "float32", BOXES, 4),
        tensor("scores", "float32", BOXES),
        tensor("labels", "int64", BOXES),
    )
    parts = {"name": "shapes", "outputs": outputs, **image_parts(height, width), **parts}
    return manifest(task="image-detection", **parts)


def scores_of(labels: tuple[str, ...]) -> tuple[Tensor, ...]:
    return (tensor("scores", "float32", len(labels)),)


def classifier(height: int = 8, width: int = 8, **parts: Any) -> Manifest:
    outputs = scores_of(parts.get("labels", LABELS))
    parts = {"name": "animals", "outputs": outputs, **image_parts(height, width), **parts}
    return manifest(task="image-classification", **parts)


def reader(vocab_size: int = 64, **parts: Any) -> Manifest:
    """A text classifier."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    parts = {
        "name": "mood",
        "inputs": tuple(tensor(name, "int64", "tokens") for name in names),
        "outputs": scores_of(parts.get("labels", LABELS)),
        "text": TextInput(max_tokens=MAX_TOKENS, pad_id=0, vocab_size=vocab_size),
        "buckets": Buckets(tokens=(4, MAX_TOKENS)),
        **parts,
    }
    return manifest(task="text-classification", **parts)


def numbers(**parts: Any) -> Manifest:
    """Four floats in, three out."""
    parts = {
        "name": "sums",
        "inputs": (tensor("input", "float32", 4),),
        "outputs": (tensor("logits", "float32", 3),),
        "labels": (),
        **parts,
    }
    return manifest(task="tensor", **parts)


def write_tokenizer(folder: Path, *words: str) -> Path:
    """Words between [CLS] and [SEP]; anything else is [UNK], blanks are nothing."""
    vocab = {word: number for number, word in enumerate((*SPECIALS, *words))}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(word, vocab[word]) for word in ("[CLS]", "[SEP]")],
    )
    tokenizer.save(str(folder / TOKENIZER_FILE))
    return folder


def task_of(
    described: Manifest,
    bundle: Path = Path("no-files"),
    *,
    limits: LimitsSettings | None = None,
    runtime: RuntimeSettings | None = None,
) -> Task:
    settings = ModelSettings(
        limits=limits or LimitsSettings(), runtime=runtime or RuntimeSettings(decode="exact")
    )
    return task_for(bundle, described, settings)


def laid_down(folder: Path, described: Manifest) -> Bundle:
    """A bundle with the files that its manifest lists, all of them empty."""
    path = folder / described.name / str(described.version)
    path.mkdir(parents=True, exist_ok=True)
    for name in (MANIFEST_FILE, *described.files):
        (path / name).touch()
    return Bundle(path, described)


def timed(prediction: dict[str, Any]) -> dict[str, Any]:
    """An answer as the worker completes it."""
    return {**prediction, "inference_ms": 1.5, "latency_ms": 2.5, "model": "tiny", "version": 3}
