"""`POST /v2/models/{name}/infer`: the head of a request, and the form of its errors."""

from __future__ import annotations

import re
from typing import ClassVar

from inferctl.errors import InferctlError
from inferctl.refusals import RequestError
from inferctl.server.call import Call, Reply
from inferctl.server.dialects.dialect import Dialect, Form
from inferctl.server.dialects.plain import plain_error
from inferctl.server.dialects.v2.answer import HEADER_LENGTH
from inferctl.server.dialects.v2.envelope import bodies
from inferctl.server.dialects.v2.signature import Signature
from inferctl.server.served import ServedModel

MAX_DIGITS = 9


class V2(Dialect):
    """The Open Inference Protocol."""

    name: ClassVar[str] = "v2"
    pattern: ClassVar[re.Pattern[str]] = re.compile(r"/v2/models/[^/]*(?:/versions/[^/]*)?/infer")

    def __init__(self) -> None:
        self._signatures: dict[ServedModel, Signature] = {}

    def paths(self, model: str, version: str) -> tuple[str, ...]:
        """With the version and without."""
        return (f"/v2/models/{model}/infer", f"/v2/models/{model}/versions/{version}/infer")

    def form(self, call: Call, model: ServedModel) -> Form:
        """What the length of its JSON says; no content type is needed. Raises RequestError."""
        call.refuse_encoded_body()
        given = call.fields.get(HEADER_LENGTH)
        if given is not None and not (given.isdigit() and len(given) <= MAX_DIGITS):
            raise RequestError("Inference-Header-Content-Length is not a number of bytes")
        signature = self._signatures.get(model)
        if signature is None:
            limits = model.settings.limits
            self._signatures[model] = signature = Signature(model.manifest, limits, model.task)
        return bodies(signature, None if given is None else int(given))

    def problem(self, error: InferctlError, call: Call) -> Reply:
        """`{"error": text}`."""
        return plain_error(error, call)
