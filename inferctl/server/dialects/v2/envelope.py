"""Where a request's JSON ends and its tensors begin, and which JSON is known already."""

from __future__ import annotations

from math import prod
from typing import Any

import orjson

from inferctl.refusals import RequestError, TooLarge, Unprocessable
from inferctl.server.dialects.dialect import Ask, Form
from inferctl.server.dialects.v2.answer import Output, Writer
from inferctl.server.dialects.v2.content import Content
from inferctl.server.dialects.v2.inference import Given, Inference
from inferctl.server.dialects.v2.signature import Signature
from inferctl.server.terms import USUAL
from inferctl.tasks.base import Body
from inferctl.tasks.bounds import FEW_BYTES, NAMES

# Requests that differ in their JSON, but for the id, are read each; of the others so many are
# remembered.
MAX_KNOWN = 256
MAX_KNOWN_BYTES = 2048

Fields = dict[str, Any]


class Bodies(Form):
    """What is shared by the three kinds of body: each brings the form that answers it."""

    __slots__ = ("_signature",)

    def __init__(self, signature: Signature) -> None:
        self._signature = signature

    def _parsed(self, header: Body) -> tuple[Fields, str | None]:
        """The JSON, without the id, and the id.

        Raises RequestError, Unprocessable, or TooLarge where no request needs so much JSON.
        """
        if len(header) > FEW_BYTES:
            self._signature.bounds.check(header, NAMES)
        try:
            fields = orjson.loads(header)
        except orjson.JSONDecodeError:
            raise RequestError(
                "the JSON of the request is not valid",
                hint="when tensors follow it, Inference-Header-Content-Length is its length",
            ) from None
        if not isinstance(fields, dict):
            raise RequestError("the JSON of the request is not an object")
        request_id = fields.pop("id", None)
        if request_id is not None and not isinstance(request_id, str):
            raise Unprocessable("id: must be a string")
        return fields, request_id


class JsonBodies(Bodies):
    """JSON with everything in it."""

    __slots__ = ()

    def read(self, body: Body) -> Ask:
        """Raises RequestError and below."""
        fields, request_id = self._parsed(body)
        return Content(self._signature, fields).ask(request_id, body)


class TensorBodies(Bodies):
    """`json_bytes` of JSON, and the tensors that it names."""

    __slots__ = ("_json_bytes",)

    def __init__(self, signature: Signature, json_bytes: int) -> None:
        super().__init__(signature)
        self._json_bytes = json_bytes

    def read(self, body: Body) -> Ask:
        """Raises RequestError and below."""
        start = self._json_bytes
        header = bytes(body[:start])
        known = self._signature.known.get(header)
        if known is not None and len(body) - start == known.tensor_bytes:
            return Ask(known, (None, body), known.terms)
        if start > len(body):
            raise RequestError("the body is shorter than Inference-Header-Content-Length says")
        fields, request_id = self._parsed(header)
        if request_id is not None:
            header = orjson.dumps(fields)
            known = self._signature.known.get(header)
            if known is not None and len(body) - start == known.tensor_bytes:
                return Ask(known, (request_id, body), known.terms)
        ask = Content(self._signature, fields, memoryview(body)[start:]).ask(request_id, body)
        self._remember(header, ask.form)
        return ask

    def _remember(self, header: bytes, form: Form) -> None:
        known = self._signature.known
        if isinstance(form, Inference) and form.is_lasting and len(header) <= MAX_KNOWN_BYTES:
            if len(known) >= MAX_KNOWN:
                known.clear()
            known[header] = form


class RawBodies(Bodies):
    """The bytes of the only input's rows, and no JSON."""

    __slots__ = ()

    def read(self, body: Body) -> Ask:
        """Raises Unprocessable or TooLarge."""
        signature = self._signature
        port, *others = signature.ports.values()
        if others:
            raise Unprocessable(
                "the model has several inputs", hint="send JSON that names them before the tensors"
            )
        has_tokens = -1 in port.dims
        size = port.dtype.itemsize * (1 if has_tokens else prod(port.dims))
        count, rest = divmod(len(body), size)
        if rest or not count:
            raise Unprocessable(
                f"{port.name}: the body is not {port.datatype} numbers of its shape"
            )
        shape = (1, count) if has_tokens else (count, *port.dims)
        if shape[0] > signature.max_rows or (has_tokens and count > signature.max_tokens):
            raise TooLarge(f"{port.name}: more than {signature.max_rows} rows, or too many tokens")
        outputs = [Output(name, tensor, binary=True) for name, tensor in signature.outputs.items()]
        given = [Given(port, shape, prod(shape), 0, None)]
        form = Inference(given, len(body), Writer(signature, outputs, shape[0]), USUAL)
        return Ask(form, (None, body))


def bodies(signature: Signature, json_bytes: int | None) -> Bodies:
    """What a head announces: JSON alone (None), `json_bytes` of it and tensors, or raw (0)."""
    if json_bytes is None:
        return JsonBodies(signature)
    return TensorBodies(signature, json_bytes) if json_bytes else RawBodies(signature)
