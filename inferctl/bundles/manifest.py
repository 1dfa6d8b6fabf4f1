"""The manifest: everything a server must know of a bundle without opening its graph."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inferctl.errors import BundleError

MANIFEST_FILE = "manifest.json"
GRAPH_FILE = "model.onnx"
# Its weights, where they are too large for one file or were wanted apart.
DATA_FILE = "model.onnx.data"
# What protobuf lets one file hold, 2 GiB, less room for the graph.
MAX_GRAPH_BYTES = 2_000_000_000
REPORT_FILE = "report.json"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "README.md"

# A name is looked up in a table and put into URLs and metric labels, never joined into a path.
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}$"

Task = Literal["image-detection", "image-classification", "text-classification", "tensor"]
Precision = Literal["fp32", "fp16", "int8"]
Dim = Annotated[int, Field(ge=1)] | Literal["rows", "tokens"]
DType = Literal["uint8", "int32", "int64", "float16", "float32"]


class Part(BaseModel):
    """A frozen piece of the manifest that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Tensor(Part):
    """One input or output of the graph; its first axis is always the free `rows` axis.

    `bounds` are the least and the largest integer that an input of a `tensor` task takes, where the
    graph does not take all of its dtype: the ids of a vocabulary.
    """

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    bounds: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _rows_come_first(self) -> Self:
        if not self.shape or self.shape[0] != "rows" or "rows" in self.shape[1:]:
            raise ValueError(f"tensor {self.name}: the first axis, and only it, must be 'rows'")
        return self

    @model_validator(mode="after")
    def _bounds_ascend(self) -> Self:
        if self.bounds is not None and (
            self.dtype.startswith("float") or self.bounds[0] > self.bounds[1]
        ):
            raise ValueError(f"tensor {self.name}: bounds are two integers that ascend")
        return self

    def row_shape(self, max_tokens: int) -> tuple[int, ...]:
        """Shape of one row with the `tokens` axis at its longest."""
        return tuple(max_tokens if dim == "tokens" else int(dim) for dim in self.shape[1:])


class ImageInput(Part):
    """How an image becomes a row: `height` x `width` pixels, RGB, uint8, height-width-channel.

    Normalisation lives in the graph. `resize` says how the image comes to that size: `stretch`
    ignores its aspect ratio; `crop` scales its shorter side to `short_side`, keeps the ratio, and
    takes the centre; `stretch-crop` stretches it to `short_side` x `short_side` and takes the
    centre; `letterbox` keeps the ratio and the whole image, as large as it fits, in the centre of
    pixels whose channels are all `pad`. `resample` is Pillow's filter.
    """

    height: Annotated[int, Field(ge=1, le=16_384)]
    width: Annotated[int, Field(ge=1, le=16_384)]
    resize: Literal["stretch", "crop", "stretch-crop", "letterbox"] = "stretch"
    short_side: Annotated[int, Field(ge=1, le=16_384)] | None = None
    pad: Annotated[int, Field(ge=0, le=255)] | None = None
    resample: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"

    @model_validator(mode="after")
    def _fits_its_resize(self) -> Self:
        if self.resize.endswith("crop") != (self.short_side is not None):
            raise ValueError("short_side belongs to a resize that crops, and to no other")
        if (self.resize == "letterbox") != (self.pad is not None):
            raise ValueError("pad belongs to the resize letterbox, and to no other")
        if self.short_side is not None and self.short_side < max(self.height, self.width):
            raise ValueError("short_side must not be smaller than height and width")
        return self


class TextInput(Part):
    """How a text becomes a row: `tokenizer.json`, cut at `max_tokens`, padded with `pad_id`."""

    max_tokens: Annotated[int, Field(ge=1, le=8192)]
    pad_id: Annotated[int, Field(ge=0)]
    vocab_size: Annotated[int, Field(ge=1)]


class Buckets(Part):
    """The shapes that are warmed and allowed; both lists ascend. Only text has `tokens`."""

    rows: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 4, 8, 16, 32)
    tokens: tuple[Annotated[int, Field(ge=1)], ...] = ()

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for values in (self.rows, self.tokens):
            if list(values) != sorted(set(values)):
                raise ValueError("buckets must ascend without repeats")
        if not self.rows:
            raise ValueError("buckets.rows must not be empty")
        return self


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class File(Part):
    """Size and SHA-256 of a file of the bundle."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256

    @classmethod
    def of(cls, path: Path) -> Self:
        """Measure a file on disk."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return cls(bytes=path.stat().st_size, sha256=digest)


class Checkpoint(Part):
    """What a bundle was made of: SHA-256 of the weights' file, and never its name or place.

    Of weights in shards, `sha256` is that of their index and then all shards in the order of their
    names, as one file; `shards` has each alone.
    """

    sha256: Sha256
    shards: dict[str, Sha256] | None = None


class Manifest(Part):
    """`manifest.json` of a bundle. `format` is raised when an old reader would misread it.

    Outputs by task, all with the `rows` axis first:
    `image-detection` `boxes` float32 [rows, k, 4] (x1 y1 x2 y2 in 0..1 of the model's input),
    `scores` float32 [rows, k] descending, `labels` int64 [rows, k]; a score of 0 is no detection;
    `image-classification` and `text-classification` `scores` float32 [rows, labels], summing to 1;
    `tensor` any names, dtypes and fixed shapes: it has no input section and no labels.
    """

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    version: Annotated[int, Field(ge=1)]
    task: Task
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    labels: tuple[str, ...]
    image: ImageInput | None = None
    text: TextInput | None = None
    buckets: Buckets = Buckets()
    precision: Precision = "fp32"
    opset: int
    producer: str
    # Of bundles before 0.2; it stands in the report since, so that an export can be repeated.
    created_at: str | None = None
    checkpoint: Checkpoint | None = None
    files: dict[str, File]

    @model_validator(mode="after")
    def _fits_its_task(self) -> Self:
        if self.task == "tensor":
            self._check_tensor_task()
        else:
            self._check_labelled_task()
        if self.text is not None and self.buckets.tokens[-1:] != (self.text.max_tokens,):
            raise ValueError("the last tokens bucket must be text.max_tokens")
        needed = {GRAPH_FILE} | ({TOKENIZER_FILE} if self.text else set())
        if missing := needed - set(self.files):
            raise ValueError(f"files must list {', '.join(sorted(missing))}")
        return self

    def _check_labelled_task(self) -> None:
        wanted = self.text if self.task == "text-classification" else self.image
        if wanted is None:
            raise ValueError(f"task {self.task} needs its input section")
        if not self.labels:
            raise ValueError(f"task {self.task} needs labels")
        if self.task == "image-detection" and self.image and self.image.short_side is not None:
            # Boxes are parts of the model's input, and the answer scales them to the whole image.
            raise ValueError(
                "task image-detection needs the whole image: image.resize stretch or letterbox"
            )

    def _check_tensor_task(self) -> None:
        if self.image or self.text or self.labels or self.buckets.tokens:
            raise ValueError("task tensor has no image, no text, no labels and no tokens buckets")
        for tensors in (self.inputs, self.outputs):
            names = {tensor.name for tensor in tensors}
            if not names or len(names) < len(tensors):
                raise ValueError("task tensor needs inputs and outputs, each with its own name")
            if any("tokens" in tensor.shape for tensor in tensors):
                raise ValueError("task tensor takes no tokens axis")

    @property
    def max_tokens(self) -> int:
        """Longest row in tokens; 1 for tasks without a `tokens` axis."""
        return self.text.max_tokens if self.text else 1


def read_manifest(bundle: Path) -> Manifest:
    """Parse `manifest.json` of a bundle folder.

    Raises BundleError when it is missing, unreadable or does not fit this format.
    """
    path = bundle / MANIFEST_FILE
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise BundleError(
            "not a bundle: manifest.json is missing",
            where=str(bundle),
            hint="make one with `inferctl export`",
        ) from None
    except OSError as error:
        raise BundleError(f"cannot read the manifest: {error.strerror}", where=str(path)) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(
            f"the manifest does not fit: {field}: {first['msg']}",
            where=str(path),
            hint="export the bundle again with this version of inferctl",
        ) from None
