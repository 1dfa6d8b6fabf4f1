"""ONNX graphs on disk: `model.onnx` alone, or with its weights in `model.onnx.data` beside it.

A graph is read without the weights beside it, and written tensor by tensor: whatever its size, no
more than one of its weights is copied in memory. Each graph has a folder of its own, so that the
name of its data is the same in every one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, MAX_GRAPH_BYTES
from inferctl.errors import VerificationError

# Smaller tensors, such as shapes, stay in the graph: who looks at it needs them.
_MIN_DATA_BYTES = 1024
_ALIGNMENT = 4096
_CHUNK_BYTES = 1 << 20
_PROTOBUF_BYTES = 1 << 31
# Length-delimited fields of onnx.proto: ModelProto.graph, GraphProto.initializer,
# TensorProto.raw_data, as the tag byte (number << 3 | 2).
_GRAPH, _INITIALIZER, _RAW_DATA = b"\x3a", b"\x2a", b"\x4a"


@dataclass(frozen=True, slots=True)
class _Weight:
    """An initializer without its bytes, and where these are: in a tensor, or in a file."""

    tensor: TensorProto
    size: int
    origin: TensorProto | Path
    offset: int = 0

    def chunks(self) -> Iterator[bytes]:
        """Its bytes; raises VerificationError when the file ends before them."""
        if isinstance(self.origin, TensorProto):
            yield self.origin.raw_data
            return
        with self.origin.open("rb") as stream:
            stream.seek(self.offset)
            left = self.size
            while left:
                chunk = stream.read(min(_CHUNK_BYTES, left))
                if not chunk:
                    raise VerificationError(f"the weights of {self.tensor.name!r} are cut short")
                left -= len(chunk)
                yield chunk


def read_graph(path: Path) -> onnx.ModelProto:
    """The graph in a file, its weights staying where they are.

    Raises VerificationError when it is none.
    """
    try:
        return onnx.load_model(path, load_external_data=False)
    except DecodeError:
        raise VerificationError("the graph is not valid: it cannot be parsed") from None


def data_of(graph: Path) -> Path | None:
    """The file of weights beside a graph, where there is one."""
    data = graph.with_name(DATA_FILE)
    return data if data.exists() else None


def write_graph(
    proto: onnx.ModelProto, folder: Path, *, weights_in: Path, data_over_bytes: int
) -> Path:
    """Write a graph into the new `folder`; return the path of its `model.onnx`.

    Weights that `proto` does not hold lie in files of the folder `weights_in`. If all weights take
    more than `data_over_bytes` they go into `model.onnx.data`. Empties `proto` of its weights.
    Raises VerificationError when the rest is larger than an ONNX file may be.
    """
    folder.mkdir()
    weights = [_weight(tensor, weights_in) for tensor in proto.graph.initializer]
    del proto.graph.initializer[:]
    beside = sum(weight.size for weight in weights) > min(data_over_bytes, MAX_GRAPH_BYTES)
    if beside:
        with (folder / DATA_FILE).open("xb") as data:
            weights = [_moved(weight, data) for weight in weights]
    with (folder / GRAPH_FILE).open("xb") as stream:
        _write_model(proto, weights, stream)
    return folder / GRAPH_FILE


def _weight(tensor: TensorProto, folder: Path) -> _Weight:
    bare = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    if tensor.data_location == TensorProto.EXTERNAL:
        place = {entry.key: entry.value for entry in tensor.external_data}
        file, offset = folder / place["location"], int(place.get("offset", 0))
        size = int(place.get("length", file.stat().st_size - offset))
        return _Weight(bare, size, file, offset)
    if not tensor.HasField("raw_data"):
        # A few numbers in fields of their own type.
        bare.CopyFrom(tensor)
    return _Weight(bare, len(tensor.raw_data), tensor)


def _moved(weight: _Weight, data: BinaryIO) -> _Weight:
    """Append the bytes to `data`, and name the place instead."""
    if weight.size < _MIN_DATA_BYTES:
        return weight
    data.seek(-data.tell() % _ALIGNMENT, os.SEEK_CUR)
    offset = data.tell()
    data.writelines(weight.chunks())
    tensor = weight.tensor
    tensor.data_location = TensorProto.EXTERNAL
    place = {"location": DATA_FILE, "offset": str(offset), "length": str(weight.size)}
    for key, value in place.items():
        tensor.external_data.add(key=key, value=value)
    return _Weight(tensor, 0, tensor)


def _write_model(proto: onnx.ModelProto, weights: Iterable[_Weight], stream: BinaryIO) -> None:
    """Write the model as protobuf would, its weights after the rest of the graph."""
    graph = _serialised(proto.graph)
    proto.ClearField("graph")
    heads = [(weight, _serialised(weight.tensor)) for weight in weights]
    sizes = [
        len(head) + (1 + len(_varint(weight.size)) + weight.size if weight.size else 0)
        for weight, head in heads
    ]
    total = len(graph) + sum(1 + len(_varint(size)) + size for size in sizes)
    if total >= _PROTOBUF_BYTES:
        raise VerificationError("the graph is larger than the 2 GB that an ONNX file holds")
    stream.write(_serialised(proto) + _GRAPH + _varint(total) + graph)
    for (weight, head), size in zip(heads, sizes, strict=True):
        stream.write(_INITIALIZER + _varint(size) + head)
        if weight.size:
            stream.write(_RAW_DATA + _varint(weight.size))
            stream.writelines(weight.chunks())


def _serialised(message: onnx.ModelProto | onnx.GraphProto | TensorProto) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
