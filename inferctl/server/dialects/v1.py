"""`POST /v1/models/{name}:predict`, as TensorFlow Serving and KServe have it.

`{"instances": [...]}` is answered with `{"predictions": [...]}`, one for each in their order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import orjson
from pydantic import ValidationError

from inferctl.errors import InferctlError
from inferctl.refusals import NonFiniteOutput, RequestError, TooLarge, Unprocessable
from inferctl.server.call import OK, Call, Reply
from inferctl.server.dialects.dialect import Dialect, Form
from inferctl.server.dialects.plain import plain_error, plain_row
from inferctl.server.dialects.v2.signature import Signature
from inferctl.server.dialects.v2.tensors import values_of
from inferctl.server.served import ServedModel
from inferctl.tasks.base import Array, Body, Many, Prepared, first_problem, listed
from inferctl.tasks.bounds import FEW_BYTES, NAMES, VALUES

Instances = list[Any]
B64 = "b64"


class V1(Dialect):
    """The row form; the column form, `inputs`, is refused."""

    name: ClassVar[str] = "v1"
    pattern: ClassVar[re.Pattern[str]] = re.compile(
        r"/v1/models/[^/:]*(?:/versions/[^/:]*)?:predict"
    )

    def paths(self, model: str, version: str) -> tuple[str, ...]:
        """With the version and without."""
        return (f"/v1/models/{model}:predict", f"/v1/models/{model}/versions/{version}:predict")

    def form(self, call: Call, model: ServedModel) -> Form:
        """JSON, whatever its content type says. Raises UnsupportedMedia."""
        call.refuse_encoded_body()
        if model.manifest.task == "tensor":
            return Rows(Signature(model.manifest, model.settings.limits, model.task))
        return Items(model)

    def problem(self, error: InferctlError, call: Call) -> Reply:
        """`{"error": text}`."""
        return plain_error(error, call)


class Items(Form):
    """Each instance is an item of the task: its object, an encoded image, or a text."""

    __slots__ = ("_max_rows", "_task")

    def __init__(self, model: ServedModel) -> None:
        self._task, self._max_rows = model.task, model.settings.limits.max_rows
        self.off_loop = model.task.decodes_off_loop
        self.preprocess, self.postprocess = model.task.preprocess, model.task.postprocess

    def read(self, body: Body) -> Many:
        """Raises RequestError and below."""
        if len(body) > FEW_BYTES:
            self._task.bounds.check(body, VALUES)
        instances = instances_of(body, self._max_rows)
        return Many(self._item(place, instance) for place, instance in enumerate(instances))

    def _item(self, place: int, instance: Any) -> Any:
        task = self._task
        try:
            if isinstance(instance, dict) and isinstance(instance.get(B64), str):
                instance = instance[B64] if len(instance) == 1 else instance
            if isinstance(instance, str):
                return task.element(instance)
            try:
                return task.item(task.request.model_validate(instance))
            except ValidationError as error:
                raise first_problem(task.request, error) from None
        except InferctlError as error:
            error.what = f"instances[{place}]: {error.what}"
            raise

    def reply(self, answer: Any, call: Call, run_s: float, now_s: float) -> Reply:
        """One prediction."""
        return Reply(200, orjson.dumps(answer))

    def join(self, replies: list[Reply], call: Call, now_s: float) -> Reply:
        """All predictions; the first instance that failed fails the request."""
        for place, reply in enumerate(replies):
            if reply.outcome != OK:
                return plain_row(reply, f"instances[{place}]")
        return Reply(200, b'{"predictions":[%b]}' % b",".join(reply.body for reply in replies))


class Rows(Form):
    """Each instance is a row of numbers, or an object of them by the names of the inputs."""

    __slots__ = ("_outputs", "_signature")

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._outputs = tuple(signature.outputs)
        self.off_loop = False

    def read(self, body: Body) -> Instances:
        """Raises RequestError and below."""
        if len(body) > FEW_BYTES:
            self._signature.task.bounds.check(body, NAMES)
        return instances_of(body, self._signature.max_rows)

    def preprocess(self, instances: Instances) -> Prepared:
        """The inputs [rows, ...]. Raises Unprocessable."""
        ports = self._signature.ports
        named = isinstance(instances[0], dict)
        if not named and len(ports) > 1:
            raise self._refusal()
        if named and not all(
            isinstance(instance, dict) and instance.keys() == ports.keys() for instance in instances
        ):
            raise self._refusal()
        tensors: dict[str, Array] = {}
        for name, port in ports.items():
            data = [instance[name] for instance in instances] if named else instances
            tensors[name] = values_of(port, (len(instances), *port.dims), data)
        return Prepared(tensors, 1, None, len(instances))

    def _refusal(self) -> RequestError:
        names = listed(self._signature.ports)
        return Unprocessable(f"instances: each must be an object of the model's inputs: {names}")

    def postprocess(self, _: None, outputs: Mapping[str, Array]) -> Instances:
        """A prediction a row: of a single output its numbers, of several an object."""
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                raise NonFiniteOutput(f"the model's output {name} is not finite")
        if len(self._outputs) == 1:
            only: Instances = outputs[self._outputs[0]].tolist()
            return only
        columns = [outputs[name].tolist() for name in self._outputs]
        return [dict(zip(self._outputs, row, strict=True)) for row in zip(*columns, strict=True)]

    def reply(self, answer: Instances, call: Call, run_s: float, now_s: float) -> Reply:
        """All predictions."""
        return Reply(200, orjson.dumps({"predictions": answer}))


def instances_of(body: Body, max_rows: int) -> Instances:
    """What a body asks for, one to `max_rows`. Raises RequestError, Unprocessable or TooLarge."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestError("the body is not valid JSON", hint="send one JSON object") from None
    instances = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(instances, list) or not instances:
        raise Unprocessable("the body needs instances, a list of at least one")
    if len(instances) > max_rows:
        raise TooLarge(
            f"instances: more than {max_rows}",
            hint="send them in parts, or raise limits.max_rows",
        )
    return instances
