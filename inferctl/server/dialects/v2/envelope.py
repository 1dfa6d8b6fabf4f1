"""Where a request's JSON ends and its tensors begin, and which JSON is known already."""

from __future__ import annotations

from math import prod
from typing import Any

import orjson

from inferctl.errors import RequestError, TooLarge, Unprocessable
from inferctl.server.dialects.dialect import Ask, Form
from inferctl.server.dialects.v2.answer import Output, Writer
from inferctl.server.dialects.v2.content import Content
from inferctl.server.dialects.v2.inference import Given, Inference
from inferctl.server.dialects.v2.signature import Signature
from inferctl.server.terms import USUAL
from inferctl.tasks.base import Body

# Requests that differ in their JSON, but for the id, are read each; of the others so many are
# remembered.
MAX_KNOWN = 256
MAX_KNOWN_BYTES = 2048

Fields = dict[str, Any]


class Envelope(Form):
    """Reads bodies of JSON alone, of `json_bytes` of it and then tensors, or (0) of a raw tensor.

    Each body brings the form that answers it.
    """

    __slots__ = ("_json_bytes", "_signature")

    def __init__(self, signature: Signature, json_bytes: int | None) -> None:
        self._signature, self._json_bytes = signature, json_bytes or 0
        self.read = self._read_json if json_bytes is None else self._read_binary
        if json_bytes == 0:
            self.read = self._read_raw

    def _read_json(self, body: Body) -> Ask:
        """JSON with everything in it. Raises RequestError and below."""
        fields, request_id = self._parsed(body)
        return Content(self._signature, fields).ask(request_id, body)

    def _read_binary(self, body: Body) -> Ask:
        """JSON, and the tensors that it names. Raises RequestError and below."""
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
        self._remember(header, ask)
        return ask

    def _remember(self, header: bytes, ask: Ask) -> None:
        known = self._signature.known
        if isinstance(ask.form, Inference) and ask.form.is_lasting:
            if len(known) >= MAX_KNOWN:
                known.clear()
            if len(header) <= MAX_KNOWN_BYTES:
                known[header] = ask.form

    def _parsed(self, header: Body) -> tuple[Fields, str | None]:
        """The JSON, without the id, and the id.

        Raises RequestError, Unprocessable, or TooLarge where no request needs so much JSON.
        """
        most = self._signature.max_json_bytes
        if most is not None and len(header) > most:
            raise TooLarge(f"the JSON is larger than {most} bytes", hint="send binary tensors")
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

    def _read_raw(self, body: Body) -> Ask:
        """The bytes of the only input's rows. Raises Unprocessable or TooLarge."""
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
