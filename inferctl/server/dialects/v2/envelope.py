"""Where a request's JSON ends and its tensors begin, and which JSON is known already."""

from __future__ import annotations

from inferctl.errors import RequestError, TooLarge, Unprocessable
from inferctl.server.dialects.dialect import Ask, Form
from inferctl.server.dialects.v2.answer import Output, Writer
from inferctl.server.dialects.v2.content import Content
from inferctl.server.dialects.v2.inference import Given, Inference
from inferctl.server.dialects.v2.signature import Signature
from inferctl.tasks.base import Body

# Requests that differ in their JSON are parsed each; of the others so many are remembered.
MAX_KNOWN = 256
MAX_KNOWN_BYTES = 2048


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
        return Content(self._signature, body).ask(body)

    def _read_binary(self, body: Body) -> Ask:
        """JSON, and the tensors that it names. Raises RequestError and below."""
        start, known = self._json_bytes, self._signature.known
        header = bytes(body[:start])
        form = known.get(header)
        if form is not None and form.size == len(body):
            return Ask(form, body)
        if start > len(body):
            raise RequestError("the body is shorter than Inference-Header-Content-Length says")
        content = Content(self._signature, header, memoryview(body)[start:])
        ask = content.ask(body)
        if content.is_lasting and isinstance(ask.form, Inference) and start <= MAX_KNOWN_BYTES:
            if len(known) >= MAX_KNOWN:
                known.clear()
            known[header] = ask.form
        return ask

    def _read_raw(self, body: Body) -> Ask:
        """The bytes of the only input's rows. Raises Unprocessable or TooLarge."""
        signature = self._signature
        port, *others = signature.ports.values()
        if others:
            raise Unprocessable(
                "the model has several inputs", hint="send JSON that names them before the tensors"
            )
        has_tokens = -1 in port.dims
        count, rest = divmod(len(body), port.dtype.itemsize * (1 if has_tokens else port.size))
        if rest or not count:
            raise Unprocessable(
                f"{port.name}: the body is not {port.datatype} numbers of its shape"
            )
        shape = (1, count) if has_tokens else (count, *port.dims)
        if shape[0] > signature.max_rows or (has_tokens and count > signature.max_tokens):
            raise TooLarge(f"{port.name}: more than {signature.max_rows} rows, or too many tokens")
        outputs = [Output(name, tensor, binary=True) for name, tensor in signature.outputs.items()]
        given = [Given(port, shape, len(body) // port.dtype.itemsize, 0, None)]
        return Ask(Inference(given, len(body), Writer(signature, outputs, shape[0], None)), body)
