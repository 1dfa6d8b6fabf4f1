"""A request whose JSON is read: how its rows become tensors, and its outputs an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from inferctl.server.call import Call, Reply
from inferctl.server.dialects.dialect import Form
from inferctl.server.dialects.plain import plain_row
from inferctl.server.dialects.v2.answer import Writer
from inferctl.server.dialects.v2.signature import Port, Signature
from inferctl.server.dialects.v2.tensors import Shape, check_values, trimmed
from inferctl.server.terms import Terms
from inferctl.tasks.base import Array, Body, Prepared
from inferctl.tasks.images import ImageContext


class Given(NamedTuple):
    """An input as a request gives it: `size` numbers from byte `offset` of the tensors on, or its
    `values`."""

    port: Port
    shape: Shape
    size: int
    offset: int
    values: Array | None


class Inference(Form):
    """The rows are tensors of the graph, an item is the request's id and the whole body.

    `tensor_bytes` is how many of it, at its end, are tensors; it lasts where all are there.
    """

    __slots__ = ("_given", "_has_tokens", "_rows", "is_lasting", "tensor_bytes", "terms")

    def __init__(
        self, given: Sequence[Given], tensor_bytes: int, writer: Writer, terms: Terms
    ) -> None:
        self._given = tuple(given)
        self._rows = given[0].shape[0]
        self._has_tokens = any(-1 in part.port.dims for part in given)
        self.tensor_bytes, self.terms = tensor_bytes, terms
        self.is_lasting = all(part.values is None for part in given)
        # 2 microseconds for four numbers: less than a thread costs.
        self.off_loop = False
        self.postprocess = writer.write

    # A method, and none that is kept: a form that holds itself would wait for the collector.
    def preprocess(self, item: tuple[str | None, Body]) -> Prepared:
        """Views of the body. Raises Unprocessable for values that no row may have."""
        request_id, body = item
        start = len(body) - self.tensor_bytes
        tensors: dict[str, Array] = {}
        for port, shape, size, offset, values in self._given:
            if values is None:
                flat = np.frombuffer(body, port.dtype, size, start + offset)
                check_values(port, flat, shape[0])
                values = flat.reshape(shape)
            tensors[port.name] = values
        tokens = 1
        if self._has_tokens:
            tensors, tokens = trimmed(tensors)
        return Prepared(tensors, tokens, request_id, self._rows)

    def reply(self, answer: Reply, call: Call, run_s: float, now_s: float) -> Reply:
        """It is written: outputs are only valid in `postprocess`."""
        return answer


@dataclass(slots=True)
class RowReply(Reply):
    """What became of one row of several: its outputs [1, ...]."""

    tensors: Mapping[str, Array] | None = None


class Encoded(Form):
    """The rows are encoded images, or texts; each is an item, and they are answered together."""

    __slots__ = ("_is_alone", "_request_id", "_signature", "_writer")

    def __init__(
        self, signature: Signature, request_id: str | None, rows: int, writer: Writer
    ) -> None:
        self._signature, self._request_id, self._writer = signature, request_id, writer
        self._is_alone = rows == 1
        self.off_loop = signature.task.decodes_off_loop
        self.preprocess = signature.task.preprocess

    def postprocess(self, context: Any, outputs: Mapping[str, Array]) -> Any:
        """What is written, or the row's outputs. Raises RowFailed."""
        tensors = dict(outputs)
        if self._signature.is_detection:
            tensors["boxes"] = in_pixels(tensors["boxes"], context)
        if self._is_alone:
            return self._writer.write(self._request_id, tensors)
        return {name: array.copy() for name, array in tensors.items()}

    def reply(self, answer: Any, call: Call, run_s: float, now_s: float) -> Reply:
        """Of a row alone it is written; of several they wait for each other."""
        return answer if self._is_alone else RowReply(200, b"", tensors=answer)

    def join(self, replies: list[Reply], call: Call, now_s: float) -> Reply:
        """The rows one after the other; the first that failed fails the request."""
        rows = []
        for place, reply in enumerate(replies):
            if not isinstance(reply, RowReply) or reply.tensors is None:
                return plain_row(reply, f"row {place}")
            rows.append(reply.tensors)
        tensors = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        return self._writer.write(self._request_id, tensors)


def in_pixels(boxes: Array, context: ImageContext) -> Array:
    """Boxes [rows, k, 4] in 0..1 as pixels of the image as sent."""
    sides = (context.width, context.height, context.width, context.height)
    scaled: Array = boxes * np.array(sides, boxes.dtype)
    return scaled
