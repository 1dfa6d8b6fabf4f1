"""What an import is asked to do; checked here, before the file is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from inferctl.errors import UsageError
from inferctl.export.request import BundleRequest

Head = Literal["yolov8", "yolov5", "end-to-end"]
Resize = Literal["stretch", "crop", "letterbox"]

HEADS = ("yolov8", "yolov5", "end-to-end")
RESIZES = ("stretch", "crop", "letterbox")
# What Ultralytics predicts with.
IOU = 0.7
MAX_DETECTIONS = 300
# More are never looked at, of any picture; Ultralytics has no such limit but 30,000.
CANDIDATES = 2048


@dataclass(frozen=True, slots=True)
class ImportRequest(BundleRequest):
    """Everything `inferctl import` was told; `None` means: find out from the file.

    `scale` is what a white pixel is to the model before `mean` and `std`, which are then of values
    in 0..`scale`. Boxes of one label that overlap by more than `iou` are one, and at most
    `max_detections` are kept of a picture. Raises UsageError when a value cannot be meant.
    """

    scale: float = 1.0
    resize: Resize | None = None
    short_side: int | None = None
    head: Head | None = None
    iou: float = IOU
    max_detections: int = MAX_DETECTIONS

    def __post_init__(self) -> None:
        # `super()` without arguments does not find its class in one with slots.
        BundleRequest.__post_init__(self)
        for flag, value, known in (
            ("--head", self.head, HEADS),
            ("--resize", self.resize, RESIZES),
        ):
            if value is not None and value not in known:
                raise UsageError(
                    f"{value!r} is unknown", where=flag, hint=f"one of {', '.join(known)}"
                )
        if (self.resize == "crop") != (self.short_side is not None):
            raise UsageError(
                "--resize crop and --short-side belong together",
                where="--short-side",
                hint="pass the length that the picture's shorter side gets before it is cropped",
            )
        if not math.isfinite(self.scale) or self.scale <= 0:
            raise UsageError("a scale must be a finite number above 0", where="--scale")
        if not 0 < self.iou <= 1:
            raise UsageError("an overlap is a number above 0, and 1 at most", where="--iou")
        if not 1 <= self.max_detections <= CANDIDATES:
            raise UsageError(f"keep 1 to {CANDIDATES}", where="--max-detections")
