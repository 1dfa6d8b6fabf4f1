"""ONNX graphs on disk: `model.onnx`, with large weights in `model.onnx.data` beside it.

A graph is read without the weights beside it, and written tensor by tensor: whatever its size, no
more than one of its weights is copied in memory. While an export works, weights always lie beside,
where ONNX Runtime maps them instead of copying; what is published may be one file. Each graph has a
folder of its own, so that the name of its data is the same in every one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, MAX_GRAPH_BYTES, File
from inferctl.errors import VerificationError
from inferctl.export.foreign import first_line

# Smaller tensors, such as shapes, stay in the graph: who looks at it needs them.
_MIN_DATA_BYTES = 1024
_ALIGNMENT = 4096
_CHUNK_BYTES = 1 << 20
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


def write_graph(proto: onnx.ModelProto, folder: Path, *, weights_in: Path) -> Path:
    """Write a graph into the new `folder`, and check it; return the path of its `model.onnx`.

    Weights that `proto` does not hold lie in files of the folder `weights_in`. Empties `proto`.
    Raises VerificationError when the graph is not valid.
    """
    folder.mkdir()
    weights = _taken_from(proto, weights_in)
    if any(weight.size >= _MIN_DATA_BYTES for weight in weights):
        with (folder / DATA_FILE).open("xb") as data:
            weights = [_moved(weight, data) for weight in weights]
    file = folder / GRAPH_FILE
    with file.open("xb") as stream:
        stream.writelines(_model_parts(proto, weights))
    try:
        onnx.checker.check_model(file)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise VerificationError(f"the graph is not valid: {first_line(error)}") from None
    return file


def published_files(graph: Path, data_over_bytes: int) -> dict[str, Path]:
    """The files of a graph by the names that a bundle gives them.

    One, written beside the graph, if the weights take no more than `data_over_bytes` and than a
    file may hold.
    """
    data = data_of(graph)
    if data is None:
        return {GRAPH_FILE: graph}
    if not _fits(graph, data, data_over_bytes):
        return {GRAPH_FILE: graph, DATA_FILE: data}
    file = graph.with_name("whole.onnx")
    with file.open("xb") as stream:
        stream.writelines(_whole(graph))
    return {GRAPH_FILE: file}


def published_sha256(graph: Path, data_over_bytes: int) -> str:
    """The hash of the `model.onnx` that a graph is published as."""
    data = data_of(graph)
    if data is None or not _fits(graph, data, data_over_bytes):
        return File.of(graph).sha256
    digest = hashlib.sha256()
    for part in _whole(graph):
        digest.update(part)
    return digest.hexdigest()


def _fits(graph: Path, data: Path, data_over_bytes: int) -> bool:
    size = data.stat().st_size
    return size <= data_over_bytes and size + graph.stat().st_size <= MAX_GRAPH_BYTES


def _whole(graph: Path) -> Iterator[bytes]:
    """A graph with its weights, as the content of one file."""
    proto = read_graph(graph)
    yield from _model_parts(proto, _taken_from(proto, graph.parent))


def _taken_from(proto: onnx.ModelProto, folder: Path) -> list[_Weight]:
    weights = [_weight(tensor, folder) for tensor in proto.graph.initializer]
    del proto.graph.initializer[:]
    return weights


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


def _model_parts(proto: onnx.ModelProto, weights: Sequence[_Weight]) -> Iterator[bytes]:
    """The model as protobuf writes it, its weights after the rest of the graph."""
    graph = _serialised(proto.graph)
    proto.ClearField("graph")
    heads = [_serialised(weight.tensor) for weight in weights]
    sizes = [
        len(head) + (1 + len(_varint(weight.size)) + weight.size if weight.size else 0)
        for weight, head in zip(weights, heads, strict=True)
    ]
    total = len(graph) + sum(1 + len(_varint(size)) + size for size in sizes)
    yield _serialised(proto) + _GRAPH + _varint(total) + graph
    for weight, head, size in zip(weights, heads, sizes, strict=True):
        yield _INITIALIZER + _varint(size) + head
        if weight.size:
            yield _RAW_DATA + _varint(weight.size)
            yield from weight.chunks()


def _serialised(message: onnx.ModelProto | onnx.GraphProto | TensorProto) -> bytes:
    try:
        return bytes(message.SerializeToString(deterministic=True))
    except (EncodeError, ValueError):
        raise VerificationError(
            "the graph without its weights is larger than the 2 GB that an ONNX file holds"
        ) from None


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
