"""Where a graph takes its weights from, read without the onnx package.

A graph names such places itself, and a runtime would open whatever lies beside it: the manifest
must list the file, and what is taken must lie in it.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from inferctl.errors import BundleError

_ENTRIES, _KEY, _VALUE = 13, 1, 2
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
    "TensorProto": {_ENTRIES: "StringStringEntryProto"},
}
_LOCATION = "location"
# What onnx may say of a tensor in another file; it once set attributes of any other name.
_KEYS = frozenset((_LOCATION, "offset", "length", "checksum"))
_NUMBER = re.compile(r"[0-9]{1,19}")
_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 100


class Span(NamedTuple):
    """The bytes of a tensor in another file, from `offset` on; `end` is 0 where none is named."""

    location: str
    offset: int
    end: int


def external_spans(graph: Path) -> frozenset[Span]:
    """The places that the tensors of an ONNX file name, as they are written there.

    Raises BundleError when it is no ONNX file or names what is no place, OSError when it cannot be
    read.
    """
    with graph.open("rb") as stream:
        if not graph.stat().st_size:
            return frozenset()
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            # A string is stored as it is: most graphs need no second look.
            if data.find(_LOCATION.encode()) < 0:
                return frozenset()
            try:
                return frozenset(_spans(data, "ModelProto", 0, len(data), 0))
            except (IndexError, UnicodeDecodeError):
                raise BundleError("the graph is damaged", where=str(graph)) from None
            except ValueError as error:
                raise BundleError(str(error), where=str(graph)) from None


def _spans(data: mmap.mmap, message: str, start: int, end: int, depth: int) -> Iterator[Span]:
    if depth > _MAX_DEPTH:
        raise IndexError
    if message == "TensorProto":
        if entries := dict(_entries(data, start, end)):
            yield _span(entries)
        return
    inner = FIELDS[message]
    for number, first, last in _parts(data, start, end):
        if number in inner:
            yield from _spans(data, inner[number], first, last, depth + 1)


def _entries(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[str, str]]:
    """What a tensor says of where its bytes are."""
    for number, first, last in _parts(data, start, end):
        if number == _ENTRIES:
            entry = {field: data[begin:stop] for field, begin, stop in _parts(data, first, last)}
            yield entry.get(_KEY, b"").decode(), entry.get(_VALUE, b"").decode()


def _span(entries: dict[str, str]) -> Span:
    if unknown := sorted(entries.keys() - _KEYS):
        raise ValueError(f"the graph says {unknown[0]!r:.100} of its weights, which is no place")
    offset, length = entries.get("offset", "0"), entries.get("length", "0")
    if not (_NUMBER.fullmatch(offset) and _NUMBER.fullmatch(length)):
        raise ValueError(f"the graph takes {length!r:.40} bytes at {offset!r:.40} of another file")
    return Span(
        entries.get(_LOCATION, ""), int(offset), int(offset) + int(length) if int(length) else 0
    )


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
