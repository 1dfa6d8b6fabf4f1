"""What preprocessor_config.json says of a picture's way to the model, for a server to repeat.

The server knows no transformers: its manifest says how the pixels are made, and scaling and
normalisation go into the graph. What cannot be said so is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from inferctl.bundles.manifest import ImageInput
from inferctl.errors import CheckpointError
from inferctl.export.foreign import clean
from inferctl.export.huggingface.config import Directory, read_json

PREPROCESSOR_FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"

Channels = tuple[float, float, float]
Resample = Literal["nearest", "bilinear", "bicubic", "lanczos"]

_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
_CENTRE = {"size": {"shortest_edge": 224}, "crop_size": 224, "do_center_crop": True, "resample": 3}
_EDGES = {"size": {"shortest_edge": 800, "longest_edge": 1333}, "resample": 2}
_STEPS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255}

# What a processor does where its file says nothing.
DEFAULTS: dict[str, dict[str, Any]] = {
    "ViT": {"size": 224, "resample": 2, **_HALF},
    "DeiT": {"size": 256, "crop_size": 224, "do_center_crop": True, "resample": 3, **_HALF},
    "ConvNext": {"size": {"shortest_edge": 384}, "crop_pct": 224 / 256, "resample": 3, **_HALF},
    "Bit": {**_CENTRE, **_CLIP},
    "CLIP": {**_CENTRE, **_CLIP},
    "Detr": {**_EDGES, **_IMAGENET},
    "Yolos": {**_EDGES, **_IMAGENET},
    "RTDetr": {
        "size": {"height": 640, "width": 640},
        "resample": 2,
        "do_normalize": False,
        **_IMAGENET,
    },
}
DETECTORS = ("Detr", "Yolos", "RTDetr")
# To these a bare number is the side of a square; to the others the length of the shorter side.
_SQUARE = ("ViT", "DeiT")
# From this size on, this processor stretches the whole picture and crops nothing.
_CONVNEXT_STRETCHES_FROM = 384
# The processor of YOLOS cuts sides down to multiples of its patches' size.
_YOLOS_MULTIPLE = 16
# Pillow's numbers of its filters.
_FILTERS: dict[object, Resample] = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
_KNOWN_STEPS = (
    "do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_pad", "do_convert_rgb",
    "do_convert_annotations",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """A processor's settings, its own defaults filled in; `family` is a key of `DEFAULTS`."""

    family: str
    settings: Mapping[str, Any]
    where: str

    def classifier_input(self) -> ImageInput:
        """How the pixels of a classifier are made; raises CheckpointError."""
        if self.family in DETECTORS:
            raise self._refuse(f"its pictures are prepared for a detector ({self.family})")
        size = self._size("size")
        edge = size.get("shortest_edge")
        if self.family == "ConvNext":
            return self._convnext_input(edge)
        if not self.settings.get("do_center_crop"):
            if edge is not None:
                raise self._refuse("its pictures keep their aspect ratio and have no one size")
            return self._input(size["height"], size["width"])
        crop = self._size("crop_size")
        height, width = crop.get("height"), crop.get("width")
        if edge is not None:
            return self._input(height, width, resize="crop", short_side=edge)
        if (size["height"], size["width"]) == (height, width):
            return self._input(height, width)
        if size["height"] != size["width"]:
            raise self._refuse("it crops from a picture that is neither square nor whole")
        return self._input(height, width, resize="stretch-crop", short_side=size["height"])

    def detector_input(self) -> tuple[ImageInput, tuple[str, ...]]:
        """How the pixels of a detector are made, and what is not as it was in training.

        A detector trained on pictures that keep their aspect ratio gets them stretched to a square
        of their shorter side. Raises CheckpointError.
        """
        if self.family not in DETECTORS:
            raise self._refuse(f"its pictures are not prepared for a detector ({self.family})")
        size = self._size("size")
        edge = size.get("shortest_edge")
        if edge is None:
            return self._input(size["height"], size["width"]), ()
        if self.family == "Yolos":
            edge -= edge % _YOLOS_MULTIPLE
        note = (
            f"pictures are stretched to {edge} x {edge}, and in training they kept their aspect "
            "ratio; another size with --image-size"
        )
        return self._input(edge, edge), (note,)

    def resized_to(self, height: int, width: int) -> ImageInput:
        """The whole picture stretched to a size that was asked for; raises CheckpointError."""
        return self._input(height, width)

    def normalisation(self) -> tuple[Channels, Channels]:
        """Mean and standard deviation of values in 0..1, whatever range the model takes.

        `(x * rescale_factor - image_mean) / image_std` is `(x / 255 - mean) / std` with these.
        Raises CheckpointError for settings that are no numbers.
        """
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
        if self.settings["do_normalize"]:
            mean, std = self._channels("image_mean"), self._channels("image_std")
        factor = self.settings["rescale_factor"] if self.settings["do_rescale"] else 1
        if not _is_number(factor) or factor <= 0 or min(std) <= 0:
            raise self._refuse("rescale_factor and image_std must be numbers above 0")
        scale = 255 * float(factor)
        return _divided(mean, scale), _divided(std, scale)

    def _convnext_input(self, edge: int | None) -> ImageInput:
        if edge is None or self.settings.get("do_center_crop"):
            raise self._refuse("a ConvNext processor has a shortest_edge and no crop of its own")
        if edge >= _CONVNEXT_STRETCHES_FROM:
            return self._input(edge, edge)
        part = self.settings["crop_pct"]
        if not _is_number(part) or not 0 < part <= 1:
            raise self._refuse("crop_pct must be a number above 0 and not above 1")
        return self._input(edge, edge, resize="crop", short_side=int(edge / part))

    def _input(self, height: int | None, width: int | None, **parts: Any) -> ImageInput:
        try:
            return ImageInput.model_validate(
                {"height": height, "width": width, "resample": self._resample(), **parts}
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "size"
            raise self._refuse(f"its sizes do not fit: {field}: {first['msg']}") from None

    def _resample(self) -> Resample:
        code = self.settings["resample"]
        if not isinstance(code, int) or code not in _FILTERS:
            names = ", ".join(f"{key} {name}" for key, name in _FILTERS.items())
            raise self._refuse(f"resample {code!r} is none of {names}")
        return _FILTERS[code]

    def _size(self, key: str) -> dict[str, int]:
        """`height` and `width`, or `shortest_edge` with or without `longest_edge`."""
        value: Any = self.settings.get(key)
        if _is_whole(value):
            square = self.family in _SQUARE or key == "crop_size"
            return {"height": value, "width": value} if square else {"shortest_edge": value}
        if isinstance(value, list) and len(value) == 2 and all(_is_whole(side) for side in value):
            return {"height": value[0], "width": value[1]}
        if isinstance(value, Mapping):
            given = {name: side for name, side in value.items() if side is not None}
            known = set(given) in ({"height", "width"}, {"shortest_edge"})
            known = known or (
                self.family in DETECTORS and set(given) == {"shortest_edge", "longest_edge"}
            )
            if known and all(_is_whole(side) for side in given.values()):
                return given
        raise self._refuse(f"{key} {value!r} is not a size that is known here")

    def _channels(self, key: str) -> Channels:
        value = self.settings[key]
        numbers = [value] * 3 if _is_number(value) else value
        if (
            not isinstance(numbers, list)
            or len(numbers) != 3
            or not all(_is_number(part) for part in numbers)
        ):
            raise self._refuse(f"{key} must be three numbers")
        red, green, blue = map(float, numbers)
        return red, green, blue

    def check_steps(self) -> None:
        """Raise CheckpointError when the processor does what a server could not repeat."""
        if not self.settings["do_resize"]:
            raise self._refuse("its pictures are not resized, and a graph's input has one size")
        if self.settings.get("do_pad") and self.settings.get("pad_size"):
            raise self._refuse("its pictures are padded to a size")
        for name, value in self.settings.items():
            if name.startswith("do_") and value and name not in _KNOWN_STEPS:
                raise self._refuse(f"its step {name} is not known here")

    def _refuse(self, what: str) -> CheckpointError:
        return CheckpointError(
            clean(what),
            where=self.where,
            hint="export it as a state dict with --factory, --image-size, --mean and --std",
        )


def read_preprocessor(directory: Directory) -> Preprocessor:
    """Read how the directory's pictures are prepared.

    Raises CheckpointError when it does not say, or in steps that are not known here.
    """
    path, settings = _read_settings(directory)
    name = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "")
    family = name.removesuffix("Fast").removesuffix("Pil")
    family = family.removesuffix("ImageProcessor").removesuffix("FeatureExtractor")
    given = {key: value for key, value in settings.items() if value is not None}
    merged = {**_STEPS, **DEFAULTS.get(family, {}), **given}
    preprocessor = Preprocessor(family, merged, str(path))
    if family not in DEFAULTS:
        known = ", ".join(DEFAULTS)
        raise CheckpointError(
            clean(f"its image processor is {name or 'not named'}, and known are those of {known}"),
            where=str(path),
            hint="export it as a state dict with --factory, --image-size, --mean and --std",
        )
    preprocessor.check_steps()
    return preprocessor


def _read_settings(directory: Directory) -> tuple[Path, dict[str, Any]]:
    """The image processor's settings: newer versions keep them inside processor_config.json."""
    newer, older = directory.file(PROCESSOR_FILE), directory.file(PREPROCESSOR_FILE)
    if newer is not None:
        nested = read_json(newer).get("image_processor")
        if isinstance(nested, dict):
            return newer, nested
    if older is not None:
        return older, read_json(older)
    raise CheckpointError(
        f"{PREPROCESSOR_FILE} is missing",
        where=str(directory.path),
        hint="save it with `image_processor.save_pretrained(directory)`",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _divided(channels: Iterable[float], scale: float) -> Channels:
    red, green, blue = (part / scale for part in channels)
    return red, green, blue
