"""How pictures become the input of an imported model: its size, framing and normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from inferctl.bundles.manifest import ImageInput, Task
from inferctl.errors import UsageError
from inferctl.export.huggingface.config import Directory
from inferctl.export.huggingface.preprocessor import (
    PREPROCESSOR_FILE,
    PROCESSOR_FILE,
    read_preprocessor,
)
from inferctl.export.imported.metadata import Stated
from inferctl.export.imported.pixels import Normalisation, PixelInput, pixel_input
from inferctl.export.imported.request import ImportRequest
from inferctl.export.imported.source import OnnxFile

# The grey that YOLO models are trained with around pictures.
PAD = 114
_PLAIN = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_LETTERBOXED = (
    f"pictures keep their ratio within a border of {PAD}, as YOLO models take them; "
    "another way with --resize"
)


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """What an image model takes; empty of any other."""

    image: ImageInput | None = None
    pixels: PixelInput | None = None
    normalisation: Normalisation = _PLAIN
    notes: tuple[str, ...] = ()


def picture_facts(
    file: OnnxFile, request: ImportRequest, stated: Stated, task: Task, beside: Directory | None
) -> PictureFacts:
    """Find out how pictures are prepared: by flags, metadata, or the settings beside the file.

    Raises CheckpointError when the input is no picture, UsageError when a size or a flag does not
    fit.
    """
    if task == "image-detection" and request.resize == "crop":
        raise UsageError(
            "a detector needs the whole image",
            where="--resize",
            hint="pass stretch or letterbox",
        )
    pixels = pixel_input(file)
    size = _size(pixels, request, stated)
    normalisation, frame = _given(request), _frame(request, stated, task, size)
    if not stated.ultralytics and beside is not None and _has_settings(beside):
        preprocessor = read_preprocessor(beside)
        settings = preprocessor.classifier_input()
        if request.resize is None and size == (settings.height, settings.width):
            frame = settings.model_dump(exclude={"height", "width"}, exclude_none=True)
        if normalisation == _PLAIN:
            normalisation = Normalisation(*preprocessor.normalisation())
    if pixels.dtype == "uint8" and normalisation != _PLAIN:
        raise UsageError(
            f"input {pixels.name} takes uint8 pixels as they are",
            where="--mean, --std, --scale",
            hint="leave them out",
        )
    guessed = frame.get("resize") == "letterbox" and request.resize is None
    notes = (_LETTERBOXED,) if guessed and not stated.ultralytics else ()
    return PictureFacts(_image(size, frame), pixels, normalisation, notes)


def _has_settings(beside: Directory) -> bool:
    return any(beside.file(name) for name in (PREPROCESSOR_FILE, PROCESSOR_FILE))


def _given(request: ImportRequest) -> Normalisation:
    """(x * scale - mean) / std of x in 0..1, as the mean and standard deviation of x alone."""
    (r, g, b), (sr, sg, sb) = (
        tuple(part / request.scale for part in parts) for parts in (request.mean, request.std)
    )
    return Normalisation((r, g, b), (sr, sg, sb))


def _size(pixels: PixelInput, request: ImportRequest, stated: Stated) -> tuple[int, int]:
    """Height and width, which a free axis leaves to the metadata or the flag."""
    asked = request.image_size or stated.image_size or (0, 0)
    height, width = (own or other for own, other in zip(pixels.size, asked, strict=True))
    if not height or not width:
        raise UsageError(
            "the size of the model's input is free, and nothing says which to use",
            where="--image-size",
            hint="pass the size it was trained with, such as --image-size 640",
        )
    if request.image_size not in (None, (height, width)):
        raise UsageError(f"the file's input is fixed at {height} x {width}", where="--image-size")
    return height, width


def _frame(
    request: ImportRequest, stated: Stated, task: Task, size: tuple[int, int]
) -> dict[str, Any]:
    """How a picture comes to that size, as parts of the manifest's image section."""
    if request.resize == "crop":
        return {"resize": "crop", "short_side": request.short_side}
    if request.resize == "letterbox" or (request.resize is None and task == "image-detection"):
        return {"resize": "letterbox", "pad": PAD}
    if request.resize is None and stated.ultralytics and size[0] == size[1]:
        # Ultralytics' classifiers: the shorter side to the input's, then the centre. What is not
        # square they stretch.
        return {"resize": "crop", "short_side": size[0]}
    return {"resize": "stretch"}


def _image(size: tuple[int, int], frame: dict[str, Any]) -> ImageInput:
    try:
        return ImageInput.model_validate({"height": size[0], "width": size[1], **frame})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise UsageError(
            f"the input's size does not fit: {first['msg']}", where="--image-size, --short-side"
        ) from None
