"""The two models, with seeded weights: a ResNet-50 and a BERT-base with a head, in fp32 and fp16.

Drawn by torch as an export draws them; not verified, which is what a benchmark has no time for:
what they answer is compared over HTTP with onnxruntime on the CPU.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from benchmarks.bodies import SEED, WORDS, photos, text_bodies
from benchmarks.nets import LOGIT_SPREAD, MEAN, STD, ResNet, SentenceClassifier
from benchmarks.workloads import CREATED_AT, LABELS, PARTS, VOCABULARY, measured_file
from inferctl.bundles.manifest import (
    GRAPH_FILE,
    MANIFEST_FILE,
    MAX_GRAPH_BYTES,
    TOKENIZER_FILE,
    ImageInput,
    Manifest,
    Precision,
    TextInput,
)
from inferctl.export.graph import draw_graph
from inferctl.export.half import named
from inferctl.export.halves import to_half
from inferctl.export.loaded import LoadedModel
from inferctl.export.onnxfile import published_files, read_graph, write_graph
from inferctl.export.publish import publish
from inferctl.tasks.decode import decode_image

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
BUCKETS: dict[str, dict[str, tuple[int, ...]]] = {
    "vision": {"rows": (1, 2, 4, 8, 16, 32, 64, 128)},
    "text": {"rows": (1, 4, 16, 64, 128), "tokens": (16, 32, 64, 96, 128)},
}
# Blocks of the four stages of a ResNet-50, and its channels.
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
WIDER = 4
# What is left of a block's own part: with more, random weights grow from block to block.
DAMPING = 0.2
# Images and texts to which heads, and the normalisation between, are fitted.
FITTED = 16
MAX_PIXELS = 1_000_000


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        out = channels * WIDER
        self.inner = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != out:
            projection = nn.Conv2d(channels_in, out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps in, feature maps out."""
        return torch.relu(DAMPING * self.inner(x) + self.shortcut(x))


def resnet50(labels: int) -> ResNet:
    """3, 4, 6 and 3 blocks, with random weights."""
    blocks: list[nn.Module] = []
    channels_in = 64
    for stage, (count, channels) in enumerate(STAGES):
        for number in range(count):
            stride = 2 if stage and not number else 1
            blocks.append(Bottleneck(channels_in, channels, stride))
            channels_in = channels * WIDER
    return ResNet(blocks, channels_in, labels)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A published model of a base workload, whose bodies it takes."""

    name: str
    base: str
    precision: Precision
    folder: Path


def make(folder: Path) -> Iterator[Bundle]:
    """Each bundle in turn, made unless it is there."""
    torch.manual_seed(SEED)
    for base, load in (("vision", _resnet), ("text", _bert)):
        found = [_bundle(folder, base, precision) for precision in PRECISIONS]
        if not all((one.folder / MANIFEST_FILE).is_file() for one in found):
            with TemporaryDirectory() as name:
                _draw(found, load(), Path(name))
        yield from found


def _draw(bundles: Sequence[Bundle], loaded: LoadedModel, folder: Path) -> None:
    drawn = draw_graph(loaded, folder / "fp32").file
    half = to_half(named(read_graph(drawn)), (), drawn.parent)
    halved = write_graph(half, folder / "fp16", weights_in=drawn.parent)
    for bundle, graph in zip(bundles, (drawn, halved), strict=True):
        _publish(bundle, graph, loaded.tokenizer)


def _bundle(folder: Path, base: str, precision: Precision) -> Bundle:
    model = {"vision": "resnet50", "text": "bert-base"}[base]
    return Bundle(model, base, precision, folder / f"{model}-{precision}")


def _publish(bundle: Bundle, graph: Path, tokenizer: bytes | None) -> None:
    files = {
        name: path.read_bytes() for name, path in published_files(graph, MAX_GRAPH_BYTES).items()
    }
    if tokenizer:
        files[TOKENIZER_FILE] = tokenizer
    opsets = onnx.load_model_from_string(files[GRAPH_FILE]).opset_import
    manifest: dict[str, Any] = {
        "name": bundle.name,
        "version": 1,
        **PARTS[bundle.base],
        "buckets": BUCKETS[bundle.base],
        "precision": bundle.precision,
        "opset": next(entry.version for entry in opsets if entry.domain in ("", "ai.onnx")),
        "producer": "inferctl benchmarks",
        "created_at": CREATED_AT,
        "files": {name: measured_file(data) for name, data in files.items()},
    }
    document = Manifest.model_validate(manifest).model_dump_json(indent=2, exclude_none=True)
    publish(bundle.folder, {**files, MANIFEST_FILE: document.encode() + b"\n"}, force=True)


@torch.no_grad()
def _resnet() -> LoadedModel:
    net = resnet50(LABELS)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, not a moving one
    pictures = _pictures()
    net.train()(pictures)
    net.eval()
    _fit(net.head, net.features(pictures))
    return LoadedModel(
        module=net,
        task="image-classification",
        name="resnet50",
        labels=tuple(PARTS["vision"]["labels"]),
        weights=Path("seeded"),
        sha256="",
        image=ImageInput.model_validate(PARTS["vision"]["image"]),
        mean=MEAN,
        std=STD,
    )


@torch.no_grad()
def _bert() -> LoadedModel:
    config = BertConfig(vocab_size=VOCABULARY)
    encoder = BertModel(config, add_pooling_layer=False)
    encoder.set_attn_implementation("eager")
    net = SentenceClassifier(encoder, config.hidden_size).eval()
    document = _tokenizer()
    tokenizer = Tokenizer.from_buffer(document)
    ids = [torch.tensor([tokenizer.encode(body["text"]).ids]) for body in text_bodies(FITTED)]
    _fit(net.head, torch.cat([net.pooled(row, torch.ones_like(row)) for row in ids]))
    return LoadedModel(
        module=net,
        task="text-classification",
        name="bert-base",
        labels=tuple(PARTS["text"]["labels"]),
        weights=Path("seeded"),
        sha256="",
        text=TextInput.model_validate(PARTS["text"]["text"]),
        tokenizer=document,
    )


def _pictures() -> Tensor:
    """Some of the load, normalised [rows, 3, height, width]."""
    image = ImageInput.model_validate(PARTS["vision"]["image"])
    decoded = [decode_image(jpeg, image, MAX_PIXELS, "fast").array for jpeg in photos(FITTED, SEED)]
    pixels = torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


def _fit(head: nn.Linear, features: Tensor) -> None:
    """Logits around 0 that differ by LOGIT_SPREAD: scores that say something."""
    logits = head(features)
    head.weight.mul_(LOGIT_SPREAD / logits.std(0).mean())
    head.bias.copy_(-(head.weight @ features.mean(0)))


def _tokenizer() -> bytes:
    """A word is a token: as many tokens as words in the texts."""
    words = ["[PAD]", "[UNK]", *dict.fromkeys(WORDS)]
    tokenizer = Tokenizer(
        WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = Whitespace()
    return json.dumps(json.loads(tokenizer.to_str())).encode()
