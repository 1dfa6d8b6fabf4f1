"""How outputs are written: as JSON, or as raw tensors behind it, each as it was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
import orjson

from inferctl.bundles.manifest import Tensor
from inferctl.refusals import NonFiniteOutput
from inferctl.server.call import OK, Reply
from inferctl.server.dialects.v2.signature import (
    BYTES,
    DATATYPES,
    LABEL_NAMES,
    Signature,
)
from inferctl.server.dialects.v2.tensors import LENGTH, Shape
from inferctl.tasks.base import Array

OCTETS = b"application/octet-stream"
HEADER_LENGTH = b"inference-header-content-length"
LENGTH_LINE = HEADER_LENGTH + b": %d\r\n"


class Output(NamedTuple):
    """An output that was asked for, of the graph's tensor `tensor`.

    With `classes` it is that many of the tensor's highest values, with their names.
    """

    name: str
    tensor: Tensor
    binary: bool
    classes: int = 0


class Writer:
    """Writes the answers of one form: its outputs for so many rows."""

    __slots__ = ("_first", "_head", "_length", "_outputs", "_rows", "_signature", "_tail")

    def __init__(self, signature: Signature, outputs: Sequence[Output], rows: int) -> None:
        self._signature, self._outputs, self._rows = signature, tuple(outputs), rows
        self._first = {"model_name": signature.name, "model_version": signature.version}
        # Where all outputs are raw numbers the JSON before them is the same but for the id.
        self._head = self._tail = b""
        self._length = b""
        if all(_is_raw(output) for output in outputs):
            parts = [self._raw_part(output) for output in outputs]
            self._head = orjson.dumps(self._first)[:-1]
            self._tail = b",%b" % orjson.dumps({"outputs": parts})[1:]
            self._length = LENGTH_LINE % (len(self._head) + len(self._tail))

    def _raw_part(self, output: Output) -> dict[str, Any]:
        tensor = output.tensor
        shape = (self._rows, *tensor.row_shape(self._signature.max_tokens))
        size = prod(shape) * np.dtype(tensor.dtype).itemsize
        return _part(output.name, shape, DATATYPES[tensor.dtype]) | _raw(size)

    def write(self, request_id: str | None, tensors: Mapping[str, Array]) -> Reply:
        """The answer, from the graph's outputs [rows, ...]. Raises NonFiniteOutput."""
        if self._head:
            return self._write_raw(request_id, tensors)
        first = self._first if request_id is None else self._first | {"id": request_id}
        parts, pieces = [], []
        for output in self._outputs:
            array = tensors[output.tensor.name]
            if output.name == LABEL_NAMES or output.classes:
                part, piece = self._named(output, array)
            else:
                part, piece = self._numbers(output, array)
            parts.append(part)
            pieces.append(piece)
        body = orjson.dumps(first | {"outputs": parts}, option=orjson.OPT_SERIALIZE_NUMPY)
        if not any(output.binary for output in self._outputs):
            return Reply(200, body)
        return Reply(200, b"".join((body, *pieces)), OK, OCTETS, LENGTH_LINE % len(body))

    def _write_raw(self, request_id: str | None, tensors: Mapping[str, Array]) -> Reply:
        raw = [tensors[output.tensor.name].tobytes() for output in self._outputs]
        if request_id is None:
            return Reply(200, b"".join((self._head, self._tail, *raw)), OK, OCTETS, self._length)
        head = b'%b,"id":%b%b' % (self._head, orjson.dumps(request_id), self._tail)
        return Reply(200, b"".join((head, *raw)), OK, OCTETS, LENGTH_LINE % len(head))

    def _numbers(self, output: Output, array: Array) -> tuple[dict[str, Any], bytes]:
        part = _part(output.name, array.shape, DATATYPES[output.tensor.dtype])
        if output.binary:
            return part | _raw(array.nbytes), array.tobytes()
        if output.tensor.dtype.startswith("float") and not np.isfinite(array).all():
            raise NonFiniteOutput(
                f"{output.name} is not finite, which JSON cannot say", hint="ask for binary data"
            )
        return part | {"data": np.ascontiguousarray(array).reshape(-1)}, b""

    def _named(self, output: Output, array: Array) -> tuple[dict[str, Any], bytes]:
        shape, texts = self._classes(output, array) if output.classes else self._labels(array)
        part = _part(output.name, shape, BYTES)
        if not output.binary:
            return part | {"data": texts}, b""
        encoded = [text.encode() for text in texts]
        raw = b"".join(LENGTH.pack(len(text)) + text for text in encoded)
        return part | _raw(len(raw)), raw

    def _classes(self, output: Output, array: Array) -> tuple[Shape, list[str]]:
        """`value:index`, and the name where each value is a label's score."""
        labels = () if self._signature.is_detection else self._signature.labels
        best = array.argsort(axis=1)[:, ::-1][:, : output.classes]
        texts = [
            ":".join((f"{row[index]:f}", str(index), *labels[index : index + 1]))
            for row, indices in zip(array, best.tolist(), strict=True)
            for index in indices
        ]
        return best.shape, texts

    def _labels(self, array: Array) -> tuple[Shape, list[str]]:
        """The names of a detector's labels; of a classifier's rows, that of the best."""
        labels = self._signature.labels
        indices = array if self._signature.is_detection else array.argmax(axis=1)
        named = [
            labels[index] if 0 <= index < len(labels) else "" for index in indices.ravel().tolist()
        ]
        return indices.shape, named


def _is_raw(output: Output) -> bool:
    return output.binary and output.name != LABEL_NAMES and not output.classes


def _part(name: str, shape: Shape, datatype: str) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "datatype": datatype}


def _raw(size: int) -> dict[str, Any]:
    return {"parameters": {"binary_data_size": size}}
