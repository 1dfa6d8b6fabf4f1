"""The matrix as data: which kinds of checkpoints there are, which families, and what is refused.

The tests export and ask each cell, and `docs/matrix.md` is written from the same lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

KINDS = {
    "state-dict": "`torch.save`",
    "old-format": "`torch.save`, old format",
    "nested": "`torch.save`, nested",
    "safetensors": "safetensors",
    "shards": "safetensors, shards",
    "lightning": "Lightning",
    "pickle": "pickled module",
    "traced": "TorchScript, traced",
    "scripted": "TorchScript, scripted",
    "program": "`.pt2`",
    "directory": "directory",
    "sharded-directory": "directory, shards",
}
STATE_DICTS = ("state-dict", "old-format", "nested", "safetensors", "shards", "lightning")
DIRECTORIES = ("directory", "sharded-directory")

TEXTS = {
    "bert": "BERT",
    "distilbert": "DistilBERT",
    "roberta": "RoBERTa",
    "deberta-v2": "DeBERTa-v2",
    "modernbert": "ModernBERT",
}
IMAGES = {"vit": "ViT", "resnet": "ResNet", "convnext": "ConvNeXt", "swin": "Swin"}
DETECTORS = {
    "detr": "DETR",
    "yolos": "YOLOS",
    "rt-detr": "RT-DETR",
    "rt-detr-v2": "RT-DETR v2",
}
OWN = {
    "own-text": "own text classifier",
    "own-segments": "own text classifier with `token_type_ids`",
    "own-image": "own image classifier",
    "own-detector": "own detector",
}
TRANSFORMERS = {**TEXTS, **IMAGES, **DETECTORS}
FAMILIES = {**TRANSFORMERS, "detr-timm": "DETR, backbone of timm", **OWN, "tensor": "numbers"}


@dataclass(frozen=True, slots=True)
class Cell:
    """A family in a kind of checkpoint."""

    family: str
    kind: str

    @property
    def name(self) -> str:
        """The name of its model."""
        return self.family if self.kind == "directory" else f"{self.family}.{self.kind}"

    def __str__(self) -> str:
        return f"{self.family}-{self.kind}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Cells that are refused: `message` is found in what is said, `reason` is for people.

    `by` is inferctl, or the library that already cannot make such a checkpoint.
    """

    families: tuple[str, ...]
    kinds: tuple[str, ...]
    by: str
    message: str
    reason: str


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        tuple(TRANSFORMERS),
        ("scripted",),
        "torch",
        "Failed to get source for <function .*Config.__init__",
        "`torch.jit.script` compiles no module of transformers, whose configuration is Python; "
        "`torch.jit.trace` takes them",
    ),
    Refusal(
        ("tensor",),
        tuple(kind for kind in KINDS if kind not in DIRECTORIES),
        "inferctl",
        "a model of numbers cannot be exported",
        "numbers in, numbers out (task `tensor`): `inferctl export` has no flags that say the "
        "names, types and shapes of such inputs; `torch.onnx.export` writes them into a file, and "
        "`inferctl import FILE --task tensor` makes a bundle of it",
    ),
    Refusal(
        ("detr-timm",),
        DIRECTORIES,
        "inferctl",
        "transformers cannot load it: .*timm",
        "the backbone is built by the package timm, which needs torchvision; no torchvision loads "
        "beside the torch that inferctl is tested with",
    ),
    Refusal(
        ("detr-timm",),
        tuple(kind for kind in KINDS if kind not in DIRECTORIES),
        "transformers",
        "requires the timm library",
        "as in the directory: without timm there is no module to save or to build",
    ),
    Refusal(
        (*OWN, "tensor"),
        DIRECTORIES,
        "inferctl",
        r"only \*ForSequenceClassification, \*ForImageClassification, \*ForObjectDetection",
        "a directory names a class of transformers; one that it does not have is code, and no code "
        "of a directory is run (in shards it is read for a `--factory`)",
    ),
)


def refusal_of(cell: Cell) -> Refusal | None:
    """Why a cell is refused; None for one that is served."""
    found = (one for one in REFUSALS if cell.family in one.families and cell.kind in one.kinds)
    return next(found, None)


def cells() -> Iterator[Cell]:
    """All of them, row by row."""
    return (Cell(family, kind) for family in FAMILIES for kind in KINDS)


# Those that take longest, and those that are drawn as another one is.
RARE = frozenset({"rt-detr", "rt-detr-v2", "swin", "deberta-v2", "roberta"})


def is_usual(cell: Cell) -> bool:
    """Whether every run of the tests has it: every kind, every family but the rare ones, what
    takes seconds."""
    if cell.family == "own-image" or cell.kind == "directory":
        return cell.family not in RARE
    if cell.family in (*OWN, "tensor"):
        return cell.kind == "state-dict"
    return cell == Cell("distilbert", "sharded-directory")
