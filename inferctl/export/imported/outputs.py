"""How the outputs of an ONNX file become the answers of its task, in nodes and by numpy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from inferctl.bundles.manifest import Tensor
from inferctl.errors import CheckpointError, UsageError
from inferctl.export.compare import Answers, Array
from inferctl.export.imported.choosing import BOXES, LABELS, SCORES, add_detections
from inferctl.export.imported.expected import detections, probabilities
from inferctl.export.imported.heads import Detector, check_pixels, find_output, recognise
from inferctl.export.imported.model import ImportedModel
from inferctl.export.imported.nodes import OURS, Nodes
from inferctl.export.imported.request import CANDIDATES, ImportRequest

_SUMS_TO_ONE = 1e-3
_DTYPES = ("uint8", "int32", "int64", "float16", "float32")


class Answering(ABC):
    """What a task makes of the raw outputs; `outputs` are the tensors of the bundle."""

    outputs: tuple[Tensor, ...]
    note: str

    @abstractmethod
    def add(self, nodes: Nodes) -> None:
        """Append what makes `outputs` of the file's own."""

    @abstractmethod
    def expected(self, raw: Answers, where: str) -> Answers:
        """The same for one row, by numpy. Raises VerificationError for what cannot be read."""


@dataclass(frozen=True, slots=True)
class Scores(Answering):
    """Softmax of the logits `tensor`, unless they are probabilities already."""

    tensor: str
    are_logits: bool
    outputs: tuple[Tensor, ...]
    note: str

    def add(self, nodes: Nodes) -> None:
        """Append a cast, and the softmax."""
        if not self.are_logits:
            nodes.add("Cast", self.tensor, to=TensorProto.FLOAT, output=OURS + SCORES)
            return
        logits = nodes.add("Cast", self.tensor, to=TensorProto.FLOAT)
        nodes.add("Softmax", logits, axis=1, output=OURS + SCORES)

    def expected(self, raw: Answers, where: str) -> Answers:
        """Scores [1, labels]."""
        scores = raw[self.tensor]
        return {SCORES: probabilities(scores) if self.are_logits else scores}


@dataclass(frozen=True, slots=True)
class Detections(Answering):
    """The detections of a head."""

    detector: Detector
    outputs: tuple[Tensor, ...]
    note: str

    def add(self, nodes: Nodes) -> None:
        """Append decoding and suppression."""
        add_detections(nodes, self.detector)

    def expected(self, raw: Answers, where: str) -> Answers:
        """Boxes, scores and labels of one row."""
        return detections(raw[self.detector.tensor], self.detector, where)


@dataclass(frozen=True, slots=True)
class Unchanged(Answering):
    """Bare tensors, as they come."""

    outputs: tuple[Tensor, ...]
    note: str = ""

    def add(self, nodes: Nodes) -> None:
        """Append nothing."""

    def expected(self, raw: Answers, where: str) -> Answers:
        """The same arrays."""
        return raw


def answering(
    model: ImportedModel, request: ImportRequest, examples: Sequence[Answers]
) -> Answering:
    """Find out what the outputs are from the raw answers to some rows, one by one.

    Raises CheckpointError when they are not those of the task, UsageError when they do not fit the
    labels.
    """
    if model.task == "image-detection":
        return _detections(model, request, examples)
    if model.task == "tensor":
        return Unchanged(tuple(_tensor(model, *item) for item in examples[0].items()))
    return _scores(model, examples)


def _scores(model: ImportedModel, examples: Sequence[Answers]) -> Scores:
    flat = {name: array for name, array in examples[0].items() if array.ndim == 2}
    fitting = [name for name, array in flat.items() if array.shape[1] == len(model.labels)]
    if len(fitting) != 1:
        shapes = ", ".join(f"{name} {list(a.shape)}" for name, a in examples[0].items())
        raise UsageError(
            f"its outputs are {shapes}, and {len(model.labels)} labels are named",
            where="--labels",
            hint="pass one for each class, in the order of the model's outputs",
        )
    tensor = fitting[0]
    producers = {name: node for node in model.file.proto.graph.node for name in node.output}
    if producers[tensor].op_type == "Sigmoid":
        raise CheckpointError(
            f"{tensor} holds independent scores of each label, and a classifier's sum to 1",
            where=model.where,
            hint="it can be imported with --task tensor",
        )
    rows = np.concatenate([answers[tensor] for answers in examples]).astype(np.float64)
    sums = bool((abs(rows.sum(axis=1) - 1) < _SUMS_TO_ONE).all() and rows.min() >= 0)
    kind = "probabilities: every row sums to 1" if sums else "logits: a softmax was added"
    outputs = (Tensor(name=SCORES, dtype="float32", shape=("rows", len(model.labels))),)
    return Scores(tensor, not sums, outputs, f"{tensor} was taken as {kind}")


def _detections(
    model: ImportedModel, request: ImportRequest, examples: Sequence[Answers]
) -> Detections:
    assert model.image is not None  # of an image task
    tensor = find_output(examples[0], model.where)
    shape = examples[0][tensor].shape
    size = (model.image.height, model.image.width)
    head = recognise(
        shape,
        len(model.labels),
        size,
        asked=request.head,
        end_to_end=model.stated.end_to_end,
        where=model.where,
    )
    raw: Array = np.concatenate([answers[tensor] for answers in examples])
    check_pixels(raw[:, :4] if head == "yolov8" else raw[:, :, :4], model.where)
    boxes = shape[2] if head == "yolov8" else shape[1]
    candidates = min(CANDIDATES, boxes)
    kept = min(request.max_detections, candidates)
    detector = Detector(head, tensor, boxes, len(model.labels), size, candidates, kept, request.iou)
    outputs = (
        Tensor(name=BOXES, dtype="float32", shape=("rows", kept, 4)),
        Tensor(name=SCORES, dtype="float32", shape=("rows", kept)),
        Tensor(name=LABELS, dtype="int64", shape=("rows", kept)),
    )
    return Detections(detector, outputs, _detections_note(detector))


def _detections_note(detector: Detector) -> str:
    note = f"{detector.tensor} was read as {detector.head}: {detector.boxes} boxes"
    if detector.head != "end-to-end":
        note += f", suppressed in the graph where they overlap by more than {detector.iou:g}"
    return f"{note}; the {detector.kept} best are answered"


def _tensor(model: ImportedModel, name: str, array: Array) -> Tensor:
    dtype, shape = array.dtype.name, array.shape
    if dtype not in _DTYPES or len(shape) < 1 or shape[0] != 1:
        raise CheckpointError(
            f"output {name} is {dtype} {list(shape)} for one row, "
            f"and it must be one of {', '.join(_DTYPES)} with a row in it",
            where=model.where,
        )
    return Tensor.model_validate({"name": name, "dtype": dtype, "shape": ("rows", *shape[1:])})
