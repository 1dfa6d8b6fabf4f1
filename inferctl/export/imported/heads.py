"""What a detector's output means, told by its shape, its labels and its metadata."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inferctl.errors import CheckpointError, UsageError
from inferctl.export.compare import Array
from inferctl.export.imported.request import Head

# Anchors at each place of YOLOv5's three grids, which are so many times smaller than the picture.
_V5_ANCHORS = 3
_V5_STRIDES = (8, 16, 32)
# Raw boxes reach from a few pixels to the input's size; parts of a picture do not.
_LEAST_PIXELS = 4.0


@dataclass(frozen=True, slots=True)
class Detector:
    """How the output `tensor` of a detector is read, for an input of `size` (height, width).

    `boxes` are as many as it gives, of which `candidates` are looked at and `kept` are answered;
    those of one label that overlap by more than `iou` are one, unless the graph chose itself.
    """

    head: Head
    tensor: str
    boxes: int
    labels: int
    size: tuple[int, int]
    candidates: int
    kept: int
    iou: float


def find_output(outputs: dict[str, Array], where: str) -> str:
    """The output with the boxes: older exports give their feature maps, of five axes, besides."""
    flat = [name for name, array in outputs.items() if array.ndim == 3]
    if len(flat) != 1:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise CheckpointError(
            f"its outputs are {shapes}, and a detector's is one of three axes",
            where=where,
            hint="another model can be imported with --task tensor",
        )
    return flat[0]


def recognise(
    shape: tuple[int, ...],
    labels: int,
    size: tuple[int, int],
    *,
    asked: Head | None,
    end_to_end: bool,
    where: str,
) -> Head:
    """Tell the head of a detector whose output has this shape for one row.

    Raises UsageError when no head has that shape with so many labels, or not the one asked for.
    """
    heads = list(_fitting(shape, labels))
    if asked is not None:
        heads = [head for head in heads if head == asked]
    elif len(heads) > 1:
        heads = ["end-to-end" if end_to_end or shape[1] != _v5_boxes(size) else heads[0]]
    if not heads:
        raise UsageError(
            f"output {list(shape)} is no {asked or 'head'} that is known for {labels} labels: "
            "yolov8 has [1, 4 + labels, boxes], yolov5 [1, boxes, 5 + labels], "
            "end-to-end [1, boxes, 6]",
            where=where,
            hint="correct --labels or --head",
        )
    return heads[0]


def check_pixels(boxes: Array, where: str) -> None:
    """Refuse boxes that are parts of the picture: as pixels they would all lie in a corner."""
    largest = float(abs(boxes).max(initial=0))
    if largest < _LEAST_PIXELS:
        raise CheckpointError(
            f"its boxes reach {largest:.3g}, and they must be in pixels of the model's input",
            where=where,
            hint="export it with boxes in pixels, as Ultralytics does",
        )


def _fitting(shape: tuple[int, ...], labels: int) -> Iterator[Head]:
    if shape[1] == 4 + labels:
        yield "yolov8"
    if shape[2] == 5 + labels:
        yield "yolov5"
    if shape[2] == 6:
        yield "end-to-end"


def _v5_boxes(size: tuple[int, int]) -> int:
    height, width = size
    return _V5_ANCHORS * sum((height // stride) * (width // stride) for stride in _V5_STRIDES)
