"""What is known of an ONNX file's model: from the file, from those beside it, from flags."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from inferctl.bundles.manifest import CARD_FILE, Task
from inferctl.errors import CheckpointError, UsageError
from inferctl.export.huggingface.config import Directory, read_json
from inferctl.export.imported.external import tensors
from inferctl.export.imported.metadata import Stated, read_metadata
from inferctl.export.imported.pictures import PictureFacts, picture_facts
from inferctl.export.imported.pixels import Normalisation, PixelInput
from inferctl.export.imported.request import ImportRequest
from inferctl.export.imported.source import OnnxFile
from inferctl.export.imported.texts import TextFacts, is_text_model, text_facts
from inferctl.export.loaded import ModelFacts, name_from, read_card

_CONFIG = "config.json"
_MARKS = ("architectures", "id2label", "model_type")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedModel(ModelFacts):
    """An ONNX file and what its bundle will say of it; `pixels` of an image model alone."""

    file: OnnxFile
    stated: Stated
    pixels: PixelInput | None = None

    @property
    def parameters(self) -> int:
        """Number of values in its weights."""
        return sum(prod(tensor.dims) for tensor in tensors(self.file.proto) if tensor.dims)

    @property
    def normalisation(self) -> Normalisation:
        """What is done to the values of a picture."""
        return Normalisation(self.mean, self.std)

    @property
    def where(self) -> str:
        """The file, for messages."""
        return str(self.file.path)


def describe_model(file: OnnxFile, request: ImportRequest) -> ImportedModel:
    """Read the file's metadata and a Hugging Face directory's settings beside it.

    Raises CheckpointError when they cannot be read, UsageError when a flag is missing, superfluous
    or contradicts the file.
    """
    stated = read_metadata(file.metadata, str(file.path))
    beside = _directory(file.path, request)
    task = _task(file, request, stated)
    pictures, texts = PictureFacts(), TextFacts()
    if task == "text-classification":
        texts = text_facts(file, request, beside)
    elif task != "tensor":
        pictures = picture_facts(file, request, stated, task, beside)
    _check_flags(request, task)
    return ImportedModel(
        file=file,
        stated=stated,
        task=task,
        name=request.name or model_name(file.path, request),
        labels=_labels(request, stated, task, beside),
        weights=file.path,
        sha256=file.sha256,
        notes=(*stated.notes, *pictures.notes),
        image=pictures.image,
        pixels=pictures.pixels,
        mean=pictures.normalisation.mean,
        std=pictures.normalisation.std,
        text=texts.text,
        tokenizer=texts.tokenizer,
        card=read_card(request.card or (beside.file(CARD_FILE) if beside else None)),
    )


def model_name(path: Path, request: ImportRequest) -> str:
    """The file's name, or its directory's where every such file is called model.onnx."""
    beside = _directory(path, request)
    return name_from(beside.path if beside and path.stem.startswith("model") else path)


def _directory(path: Path, request: ImportRequest) -> Directory | None:
    """A Hugging Face directory around the file, whose ONNX lies in it or in its folder onnx."""
    folder = path.resolve().parent
    for candidate in (folder, *([folder.parent] if folder.name == "onnx" else [])):
        if (candidate / _CONFIG).is_file():
            config = read_json(candidate / _CONFIG)
            if any(mark in config for mark in _MARKS):
                return Directory(candidate, config, request)
    return None


def _task(file: OnnxFile, request: ImportRequest, stated: Stated) -> Task:
    if request.task is not None:
        if stated.task not in (None, request.task):
            raise UsageError(f"the file says that it is for {stated.task}", where="--task")
        return request.task
    if stated.task is not None:
        return stated.task
    if is_text_model(file):
        return "text-classification"
    axes = [len(value.type.tensor_type.shape.dim) for value in file.proto.graph.output]
    if 3 in axes and (stated.ultralytics or request.head is not None):
        return "image-detection"
    raise UsageError(
        "the file does not say what it predicts",
        where="--task",
        hint="pass image-detection, image-classification, text-classification or tensor",
    )


def _check_flags(request: ImportRequest, task: Task) -> None:
    """Refuse flags of other tasks: they would be without effect, and nobody would know."""
    pictures = {"image_size", "mean", "std", "scale", "resize", "short_side"}
    texts, detectors = {"tokenizer", "max_tokens"}, {"head", "iou", "max_detections"}
    unfit = {
        "text-classification": pictures | detectors,
        "image-classification": texts | detectors,
        "image-detection": texts,
        "tensor": pictures | texts | detectors | {"labels"},
    }[task]
    for name in sorted(unfit):
        if getattr(request, name) != type(request).__dataclass_fields__[name].default:
            raise UsageError(
                f"{task} has no use for it",
                where=f"--{name.replace('_', '-')}",
                hint="leave it out, or pass another --task",
            )
    if task == "tensor" and request.precision != "fp32":
        raise UsageError(
            "nothing tells what answers of bare tensors may change",
            where="--precision",
            hint="leave it out",
        )


def _labels(
    request: ImportRequest, stated: Stated, task: Task, beside: Directory | None
) -> tuple[str, ...]:
    if task == "tensor":
        return ()
    labels = request.labels or stated.labels
    if not labels and beside is not None:
        problem = beside.config.get("problem_type")
        if problem in ("regression", "multi_label_classification"):
            raise CheckpointError(
                f"its problem type is {problem}, not single-label classification",
                where=str(beside.path),
            )
        labels = beside.labels(at_least=1)
    if not labels:
        raise UsageError(
            "the file has no label names",
            where="--labels",
            hint="pass --labels cat,dog or a file with one per line",
        )
    return labels
