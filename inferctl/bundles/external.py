"""Which files a graph takes its weights from, read without the onnx package.

A graph names such files itself, and a runtime would open whatever lies beside it: the manifest must
list what it names.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from inferctl.errors import BundleError

# The messages of onnx.proto in which a tensor may lie: field number → the message in it.
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
}
_ENTRY = "StringStringEntryProto"
_KEY, _VALUE = 1, 2
_LOCATION = b"location"
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 100


def external_files(graph: Path) -> frozenset[str]:
    """The places that the tensors of an ONNX file name, as they are written there.

    Raises BundleError when it is no ONNX file, OSError when it cannot be read.
    """
    with graph.open("rb") as stream:
        if not graph.stat().st_size:
            return frozenset()
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # A string is stored as it is: most graphs need no second look.
            if data.find(_LOCATION) < 0:
                return frozenset()
            try:
                return frozenset(_locations(data, "ModelProto", 0, len(data), 0))
            except (IndexError, UnicodeDecodeError):
                raise BundleError("the graph is damaged", where=str(graph)) from None


def _locations(data: mmap.mmap, message: str, start: int, end: int, depth: int) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise IndexError
    if message == _ENTRY:
        entry = {number: data[first:last] for number, first, last in _parts(data, start, end)}
        if entry.get(_KEY) == _LOCATION:
            yield entry.get(_VALUE, b"").decode()
        return
    inner = FIELDS[message]
    for number, first, last in _parts(data, start, end):
        if number in inner:
            yield from _locations(data, inner[number], first, last, depth + 1)


def _parts(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, begin and end of the length-delimited fields; raises IndexError past the end."""
    while start < end:
        tag, start = _varint(data, start)
        kind = tag & 7
        if kind == _DELIMITED:
            size, start = _varint(data, start)
            if start + size > end:
                raise IndexError
            yield tag >> 3, start, start + size
            start += size
        elif kind == _VARINT:
            _, start = _varint(data, start)
        elif kind in (_FIXED64, _FIXED32):
            start += 8 if kind == _FIXED64 else 4
        else:
            raise IndexError


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise IndexError
