"""The JSON of a request: which inputs it gives and how, which outputs it wants, on what terms."""

from __future__ import annotations

from math import prod
from typing import Any

from inferctl.errors import InferctlError
from inferctl.refusals import RequestError, TooLarge, Unprocessable
from inferctl.server.dialects.dialect import Ask
from inferctl.server.dialects.v2.answer import Output, Writer
from inferctl.server.dialects.v2.inference import Encoded, Given, Inference
from inferctl.server.dialects.v2.signature import (
    BYTES,
    FP16,
    LABEL_NAMES,
    Port,
    Signature,
)
from inferctl.server.dialects.v2.tensors import Shape, framed, strings, values_of
from inferctl.server.terms import USUAL, Terms
from inferctl.tasks.base import Body, Many, listed

US_PER_S = 1e6
# Longer than any timeout; what it is compared with is a float.
MAX_US = 10**15

Fields = dict[str, Any]
NO_TENSORS = memoryview(b"")


class Content:
    """One request. Texts of its refusals name what the model has, and echo nothing."""

    def __init__(
        self, signature: Signature, fields: Fields, tensors: memoryview = NO_TENSORS
    ) -> None:
        """Begin to read it. Raises Unprocessable."""
        self._signature, self._fields, self._tensors = signature, fields, tensors
        self._place = 0  # in the tensors
        self._parameters = _parameters(fields)
        self._terms = self._read_terms()

    def ask(self, request_id: str | None, body: Body) -> Ask:
        """The request's form, and its item: id and body, or Many encoded rows, or one.

        Raises Unprocessable and TooLarge.
        """
        inputs = _objects(self._fields, "inputs")
        signature = self._signature
        first = inputs[0] if inputs else {}
        if first.get("datatype") == BYTES and first.get("name") in signature.encoded:
            return self._ask_encoded(request_id, inputs)
        if len(inputs) > len(signature.ports):
            raise self._no_such_input()
        given = [self._given(fields) for fields in inputs]
        names = listed(signature.ports)
        if sorted(part.port.name for part in given) != sorted(signature.ports):
            raise Unprocessable(f"inputs: give each of the model's inputs once: {names}")
        self._refuse_more_tensors()
        if len({part.shape[0] for part in given}) > 1:
            raise Unprocessable("inputs: all of them need the same number of rows")
        if len({part.shape for part in given if -1 in part.port.dims}) > 1:
            raise Unprocessable("inputs: all of them need the same number of tokens")
        form = Inference(given, len(self._tensors), self._writer(given[0].shape[0]), self._terms)
        return Ask(form, (request_id, body), self._terms)

    def _given(self, fields: Fields) -> Given:
        """An input that is a tensor of the graph."""
        name = fields.get("name")
        port = self._signature.ports.get(name) if isinstance(name, str) else None
        if port is None:
            raise self._no_such_input()
        if (datatype := fields.get("datatype")) != port.datatype:
            hint = "BF16 is not supported" if datatype == "BF16" else ""
            raise Unprocessable(f"{port.name}: datatype must be {port.datatype}", hint=hint)
        shape = self._shape(port, fields)
        count = prod(shape)
        size = self._binary_size(port.name, fields)
        if size is None:
            if port.datatype == FP16:
                raise Unprocessable(f"{port.name}: FP16 has no JSON", hint="send it as binary data")
            return Given(port, shape, count, 0, values_of(port, shape, fields.get("data")))
        if size != count * port.dtype.itemsize:
            wanted = count * port.dtype.itemsize
            raise Unprocessable(f"{port.name}: binary_data_size of this shape is {wanted}")
        return Given(port, shape, count, self._take(size), None)

    def _shape(self, port: Port, fields: Fields) -> Shape:
        """An input's shape, within what the model and its limits allow."""
        signature = self._signature
        shape = _whole_numbers(fields.get("shape"))
        fits = len(shape) == len(port.dims) + 1 and all(
            side == dim or (dim == -1 and 1 <= side <= signature.max_tokens)
            for side, dim in zip(shape[1:], port.dims, strict=False)
        )
        if not fits or shape[0] < 1:
            dims = ["rows", *("tokens" if dim == -1 else str(dim) for dim in port.dims)]
            most = f" of at most {signature.max_tokens} tokens" if -1 in port.dims else ""
            raise Unprocessable(f"{port.name}: shape must be [{', '.join(dims)}]{most}")
        self._refuse_more_rows(shape[0])
        return shape

    def _ask_encoded(self, request_id: str | None, inputs: list[Fields]) -> Ask:
        """One input of encoded rows: images, or texts."""
        fields, signature = inputs[0], self._signature
        name = signature.encoded[0]
        if len(inputs) > 1:
            raise Unprocessable(f"{name}: rows of BYTES are all that the model needs")
        shape = _whole_numbers(fields.get("shape"))
        if shape[1:] not in ((), (1,)) or not shape or shape[0] < 1:
            raise Unprocessable(f"{name}: shape of BYTES must be [rows] or [rows, 1]")
        rows = shape[0]
        self._refuse_more_rows(rows)
        size = self._binary_size(name, fields)
        elements: list[Any]
        if size is None:
            elements = strings(name, fields.get("data"), rows)
        else:
            start = self._take(size)
            elements = framed(name, self._tensors[start : start + size], rows)
        self._refuse_more_tensors()
        items = Many(self._element(place, element) for place, element in enumerate(elements))
        form = Encoded(signature, request_id, rows, self._writer(rows))
        return Ask(form, items if rows > 1 else items[0], self._terms)

    def _element(self, place: int, data: Body | str) -> Any:
        try:
            return self._signature.task.element(data)
        except InferctlError as error:
            error.what = f"row {place}: {error.what}"
            raise

    def _writer(self, rows: int) -> Writer:
        """Of the outputs that are wanted: all, if none is named."""
        signature = self._signature
        usual = self._parameters.get("binary_data_output", False)
        wanted = _objects(self._fields, "outputs")
        names = [fields.get("name") for fields in wanted]
        if len(set(map(str, names))) < len(names):
            raise Unprocessable("outputs: ask for each once")
        outputs = [self._output(fields, usual) for fields in wanted] or [
            Output(name, tensor, usual is True) for name, tensor in signature.outputs.items()
        ]
        for output in outputs:
            is_number = output.name != LABEL_NAMES and not output.classes
            if is_number and not output.binary and output.tensor.dtype == "float16":
                raise Unprocessable(f"{output.name}: FP16 has no JSON", hint="ask for binary data")
        return Writer(signature, outputs, rows)

    def _output(self, fields: Fields, usual: Any) -> Output:
        signature, name = self._signature, fields.get("name")
        parameters = _parameters(fields)
        _refuse_shared_memory(parameters)
        binary = parameters.get("binary_data", usual) is True
        if name == LABEL_NAMES and signature.labels:
            source = "labels" if signature.is_detection else "scores"
            return Output(LABEL_NAMES, signature.outputs[source], binary)
        tensor = signature.outputs.get(name) if isinstance(name, str) else None
        if tensor is None:
            names = listed((*signature.outputs, *[LABEL_NAMES] * bool(signature.labels)))
            raise Unprocessable(f"outputs: the model has {names}")
        classes = parameters.get("classification", 0)
        if type(classes) is not int or classes < 0 or (classes and len(tensor.shape) != 2):
            raise Unprocessable(
                f"{tensor.name}: classification must be a number of classes, of a row of scores"
            )
        return Output(tensor.name, tensor, binary, classes)

    def _read_terms(self) -> Terms:
        """`timeout` in microseconds, and `priority`: from 2 on it is bulk; 0 says nothing."""
        values = [self._parameters.get(name, 0) for name in ("timeout", "priority")]
        for name, value in zip(("timeout", "priority"), values, strict=True):
            if type(value) is not int or value < 0:
                raise Unprocessable(f"parameters.{name}: must be a whole number, 0 or more")
        timeout_us, priority = values
        if not timeout_us and priority <= 1:
            return USUAL
        return Terms(min(timeout_us, MAX_US) / US_PER_S if timeout_us else None, priority > 1)

    def _binary_size(self, name: str, fields: Fields) -> int | None:
        """How many bytes of tensors are this input's; None where its data is in the JSON."""
        parameters = _parameters(fields)
        _refuse_shared_memory(parameters)
        size = parameters.get("binary_data_size")
        if size is None:
            return None
        if type(size) is not int or size < 0 or "data" in fields:
            raise Unprocessable(f"{name}: give its data or a whole number as binary_data_size")
        if size > len(self._tensors) - self._place:
            raise Unprocessable(
                f"{name}: the body holds fewer bytes than its binary_data_size",
                hint="Inference-Header-Content-Length is the length of the JSON before them",
            )
        return size

    def _take(self, size: int) -> int:
        """The place in the tensors of the next `size` bytes."""
        start, self._place = self._place, self._place + size
        return start

    def _refuse_more_tensors(self) -> None:
        if self._place < len(self._tensors):
            raise Unprocessable("the body holds more bytes than its inputs have")

    def _refuse_more_rows(self, rows: int) -> None:
        if rows > self._signature.max_rows:
            raise TooLarge(
                f"inputs: more than {self._signature.max_rows} rows",
                hint="send them in parts, or raise limits.max_rows",
            )

    def _no_such_input(self) -> RequestError:
        names = listed(self._signature.ports)
        encoded = "".join(f"; or {name} as BYTES" for name in self._signature.encoded[:1])
        return Unprocessable(f"inputs: the model has {names}{encoded}")


def _objects(fields: Fields, name: str) -> list[Fields]:
    """A list of objects, empty where it is not given. Raises Unprocessable."""
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
        raise Unprocessable(f"{name}: must be a list of objects")
    return value


def _parameters(fields: Fields) -> Fields:
    value = fields.get("parameters")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unprocessable("parameters: must be an object")
    return value


def _refuse_shared_memory(parameters: Fields) -> None:
    if "shared_memory_region" in parameters:
        raise Unprocessable("shared memory is not supported", hint="send the data")


def _whole_numbers(value: Any) -> Shape:
    """A shape; an empty one where it is none. Python's numbers do not overflow."""
    if isinstance(value, list) and all(type(side) is int for side in value):
        return tuple(value)
    return ()
