"""What an ONNX file says of itself, so that other tools find labels and preprocessing in it.

Our own description is one JSON value; beside it stand the keys that others write and read: those of
the ONNX standard for pictures, and `names`, `task`, `imgsz` and `channels` as Ultralytics has them.
Nothing in it tells where, when or by whom the file was made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import onnx

from inferctl import __version__
from inferctl.bundles.manifest import Tensor
from inferctl.export.loaded import ModelFacts

MANIFEST_KEY = "inferctl.manifest"
_TASKS = {"image-detection": "detect", "image-classification": "classify"}
# Pixels come as they are decoded; the graph normalises them.
_PIXELS = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}
_IMAGE_AXES = ("DATA_BATCH", "DATA_FEATURE", "DATA_FEATURE", "DATA_CHANNEL")


def write_metadata(
    proto: onnx.ModelProto,
    loaded: ModelFacts,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> None:
    """Write who made a graph, what it is and how it is fed into its metadata."""
    proto.producer_name, proto.producer_version = "inferctl", __version__
    proto.doc_string = _sentence(loaded)
    properties = {MANIFEST_KEY: _manifest(loaded, inputs, outputs), **_known(loaded)}
    onnx.helper.set_model_props(proto, properties)
    if loaded.image is not None:
        image = proto.graph.input[0].type
        image.denotation = "IMAGE"
        for dim, axis in zip(image.tensor_type.shape.dim, _IMAGE_AXES, strict=True):
            dim.denotation = axis


def copy_metadata(source: onnx.ModelProto, target: onnx.ModelProto) -> None:
    """Give a graph the description of the one it was made of."""
    for field in ("producer_name", "producer_version", "doc_string"):
        setattr(target, field, getattr(source, field))
    del target.metadata_props[:]
    target.metadata_props.extend(source.metadata_props)
    for given, value in zip(source.graph.input, target.graph.input, strict=True):
        value.CopyFrom(given)


def _manifest(loaded: ModelFacts, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """The parts of the manifest that do not depend on the file they are written into."""
    document = {
        "name": loaded.name,
        "task": loaded.task,
        "inputs": [tensor.model_dump(exclude_none=True) for tensor in inputs],
        "outputs": [tensor.model_dump(exclude_none=True) for tensor in outputs],
        "labels": loaded.labels,
        "image": loaded.image and loaded.image.model_dump(exclude_none=True),
        "text": loaded.text and loaded.text.model_dump(exclude_none=True),
    }
    return json.dumps({name: value for name, value in document.items() if value is not None})


def _known(loaded: ModelFacts) -> dict[str, str]:
    """The keys of others; `names` is a Python literal, as its readers expect."""
    properties = {
        **({"names": repr(dict(enumerate(loaded.labels)))} if loaded.labels else {}),
        "task": _TASKS.get(loaded.task, loaded.task),
        "description": _sentence(loaded),
    }
    if loaded.image is None:
        return properties
    size = f"[{loaded.image.height}, {loaded.image.width}]"
    return {**properties, "imgsz": size, "channels": "3", **_PIXELS}


def _sentence(loaded: ModelFacts) -> str:
    if loaded.task == "tensor":
        return f"{loaded.name}: tensors into tensors"
    what = f"{loaded.name}: {loaded.task} into {len(loaded.labels)} labels"
    if loaded.image is None:
        return f"{what}; scores are a softmax"
    return f"{what}; takes RGB pixels of 0 to 255, which it normalises itself"
