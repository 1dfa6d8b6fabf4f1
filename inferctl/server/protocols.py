"""The OpenAPI document of the hot paths in the protocols of other servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from inferctl.server.dialects.v1 import V1
from inferctl.server.dialects.v2.answer import HEADER_LENGTH
from inferctl.server.dialects.v2.dialect import V2
from inferctl.server.dialects.v2.signature import BYTES, DATATYPES, FP16
from inferctl.server.offer import Offer
from inferctl.server.openapi import HEADERS, PROBLEM_STATUSES, REF, Document
from inferctl.server.v2 import PlainError
from inferctl.tasks.base import JSON, Timed

OCTETS = "application/octet-stream"
# What these protocols answer with 400.
ELSEWHERE = ("413", "415", "422")

Datatype = Literal["UINT8", "INT32", "INT64", "FP16", "FP32", "BYTES"]
Parameters = dict[str, Any]


class InferInput(BaseModel):
    """A tensor of the model, or BYTES of encoded rows; `data`, or bytes behind the JSON."""

    name: str
    shape: list[int] = Field(min_length=1)
    datatype: Datatype
    parameters: Parameters | None = Field(default=None, description="binary_data_size")
    data: list[Any] | None = Field(default=None, description="row-major, nested or flat")


class WantedOutput(BaseModel):
    """An output by name."""

    name: str
    parameters: Parameters | None = Field(default=None, description="binary_data, classification")


class InferRequest(BaseModel):
    """`POST /v2/models/{name}/infer`."""

    id: str | None = None
    parameters: Parameters | None = Field(
        default=None, description="binary_data_output, timeout in microseconds, priority"
    )
    inputs: list[InferInput] = Field(min_length=1)
    outputs: list[WantedOutput] | None = Field(default=None, description="all, if none is named")


class InferOutput(BaseModel):
    """A tensor; `data` is flat and row-major, or its bytes are behind the JSON."""

    name: str
    shape: list[int]
    datatype: Datatype
    parameters: Parameters | None = None
    data: list[Any] | None = None


class InferAnswer(BaseModel):
    """The answer's JSON; `id` is the request's."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[InferOutput]


LENGTH_HEADER: Document = {
    "name": HEADER_LENGTH.decode().title(),
    "in": "header",
    "description": "bytes of JSON before the tensors; 0 for a body that is one raw tensor",
    "schema": {"type": "integer", "minimum": 0},
}


def add_protocol_paths(document: Document, offers: Sequence[Offer]) -> None:
    """Add the paths of V1 and V2 to a document that has those of each task."""
    schemas = document["components"]["schemas"]
    _, definitions = models_json_schema(
        [(InferRequest, "validation"), (InferAnswer, "validation"), (PlainError, "validation")],
        ref_template=REF,
    )
    schemas.update(definitions["$defs"])
    for offer in offers:
        version = str(offer.manifest.version)
        for number, path in enumerate(V2().paths(offer.name, version)):
            document["paths"][path] = {"post": _infer(offer, number)}
        native = document["paths"][f"/models/{offer.name}/predict"]["post"]
        for number, path in enumerate(V1().paths(offer.name, version)):
            document["paths"][path] = {"post": _predict(offer, number, native, schemas)}


def _operation(offer: Offer, number: int, protocol: str, **more: Any) -> Document:
    return {
        "operationId": f"{protocol}_{offer.name}" + "_version" * number,
        "summary": f"{offer.manifest.task} by {offer.name} version {offer.manifest.version}",
        "tags": [protocol],
        **more,
    }


def _responses(content: Document) -> Document:
    error = {JSON: {"schema": _ref(PlainError.__name__)}}
    failures = {
        status: {"description": text, "content": error}
        for status, text in PROBLEM_STATUSES.items()
        if status not in ELSEWHERE
    }
    failures["400"]["description"] = "the body cannot be parsed, or is of no use"
    return {"200": {"description": "the answer", "content": content}, **failures}


def _infer(offer: Offer, number: int) -> Document:
    octets: Document = {OCTETS: {"schema": {"type": "string", "format": "binary"}}}
    asked: Document = {"schema": _ref(InferRequest.__name__)}
    if (example := _example(offer)) is not None:
        asked["example"] = example
    return _operation(
        offer,
        number,
        "v2",
        parameters=[LENGTH_HEADER, *HEADERS],
        requestBody={"required": True, "content": {JSON: asked} | octets},
        responses=_responses({JSON: {"schema": _ref(InferAnswer.__name__)}} | octets),
    )


def _example(offer: Offer) -> Document | None:
    """A small request in JSON, where the model's datatypes have a form there."""
    task, manifest = offer.task, offer.manifest
    if manifest.image or manifest.text:
        name, (value, *_) = "image" if manifest.image else "text", task.example().values()
        inputs = [{"name": name, "shape": [1], "datatype": BYTES, "data": [value]}]
        return {"inputs": inputs}
    datatypes = [DATATYPES[tensor.dtype] for tensor in (*manifest.inputs, *manifest.outputs)]
    if FP16 in datatypes:
        return None
    return {
        "inputs": [
            {
                "name": tensor.name,
                "shape": [1, *tensor.row_shape(1)],
                "datatype": DATATYPES[tensor.dtype],
                "data": [task.example()["inputs"][tensor.name]],
            }
            for tensor in manifest.inputs
        ]
    }


def _predict(offer: Offer, number: int, native: Document, schemas: Document) -> Document:
    """An item is the native one, and so is an answer, but for its times."""
    request = native["requestBody"]["content"][JSON]["schema"]["anyOf"][0]
    answer = native["responses"]["200"]["content"][JSON]["schema"]["anyOf"][0]
    asked = {
        "schema": _instances(offer, request),
        "example": {"instances": [_instance(offer)]},
    }
    predictions = _predictions(offer, schemas[answer["$ref"].rpartition("/")[2]])
    return _operation(
        offer,
        number,
        "v1",
        parameters=HEADERS,
        requestBody={"required": True, "content": {JSON: asked}},
        responses=_responses({JSON: {"schema": predictions}}),
    )


def _instance(offer: Offer) -> Any:
    example = offer.task.example()
    return example["inputs"] if offer.manifest.task == "tensor" else example


def _instances(offer: Offer, request: Document) -> Document:
    """The request's schema: one kind of instance, or another."""
    if offer.manifest.task == "tensor":
        kinds: list[Document] = [{"type": "object"}, {"type": "array"}, {"type": "number"}]
    elif offer.manifest.text:
        kinds = [request, {"type": "string"}]
    else:
        b64 = {"type": "object", "properties": {"b64": {"type": "string"}}, "required": ["b64"]}
        kinds = [request, b64, {"type": "string"}]
    most = offer.settings.limits.max_rows
    items = {"type": "array", "minItems": 1, "maxItems": most, "items": {"anyOf": kinds}}
    return {"type": "object", "properties": {"instances": items}, "required": ["instances"]}


def _predictions(offer: Offer, answer: Document) -> Document:
    """The answer's schema: of a tensor model its rows, else the task's answer without times."""
    prediction: Document = {}
    if offer.manifest.task != "tensor":
        own = {
            name: schema
            for name, schema in answer["properties"].items()
            if name not in Timed.model_fields
        }
        prediction = {"type": "object", "properties": own, "required": list(own)}
    items = {"type": "array", "items": prediction}
    return {"type": "object", "properties": {"predictions": items}, "required": ["predictions"]}


def _ref(name: str) -> Document:
    return {"$ref": REF.format(model=name)}
