"""The OpenAPI document of the hot paths, from the same models that decode them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from inferctl.server.offer import Offer
from inferctl.tasks.base import JSON, Task

Document = dict[str, Any]

REF = "#/components/schemas/{model}"
PROBLEM_STATUSES = {
    "400": "the body cannot be parsed",
    "404": "no such model or version",
    "405": "not a POST request",
    "408": "the body did not arrive in time",
    "413": "body, pixels or text over the limit",
    "415": "a content type that the model does not take",
    "422": "parsed, but unusable",
    "429": "the queue is full",
    "500": "the model failed on this input",
    "503": "not ready, or draining",
    "504": "the deadline passed",
}


class Problem(BaseModel):
    """RFC 9457 problem details; `code` is stable."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    hint: str | None = None


PROBLEM: Document = {
    "application/problem+json": {"schema": {"$ref": REF.format(model=Problem.__name__)}}
}


def add_predict_paths(document: Document, offers: Sequence[Offer]) -> Document:
    """Add `/predict` and each model's `/models/{name}/predict`, with exact schemas."""
    pairs: list[tuple[type[BaseModel], Any]] = [(Problem, "serialization")]
    for offer in offers:
        pairs += [(offer.task.request, "validation"), (offer.task.answer, "serialization")]
    names, definitions = models_json_schema(pairs, ref_template=REF)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    for offer in offers:
        operation = _operation(offer, names)
        document["paths"][f"/models/{offer.name}/predict"] = {"post": operation}
        if offer.settings.default:
            document["paths"]["/predict"] = {
                "post": operation
                | {
                    "operationId": "predict",
                    "summary": f"the default model: {operation['summary']}",
                }
            }
    return document


def _operation(offer: Offer, names: Any) -> Document:
    task = offer.task
    raw_schema = (
        {"type": "string"}
        if "text/plain" in task.media_types
        else {"type": "string", "format": "binary"}
    )
    content: Document = {
        JSON: {"schema": names[task.request, "validation"], "example": task.example()}
    }
    content |= {media_type: {"schema": raw_schema} for media_type in task.media_types}
    answer = {JSON: {"schema": names[task.answer, "serialization"]}}
    return {
        "parameters": _parameters(task),
        "operationId": f"predict_{offer.name}",
        "summary": f"{offer.manifest.task} by {offer.name} version {offer.manifest.version}",
        "tags": ["predict"],
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": {"description": "the prediction", "content": answer},
            **{
                status: {"description": text, "content": PROBLEM}
                for status, text in PROBLEM_STATUSES.items()
            },
        },
    }


def _parameters(task: Task) -> list[Document]:
    """The query: the version, and for raw bodies the options that JSON carries in its body."""
    version = {
        "name": "version",
        "in": "query",
        "description": "refuse to be answered by another version",
        "schema": {"type": "integer", "minimum": 1},
    }
    if task.options is None:
        return [version]
    options = task.options.model_json_schema()["properties"]
    return [
        version,
        *(
            {
                "name": name,
                "in": "query",
                "description": f"{schema.get('description', name)}; with a raw body only",
                "schema": {key: value for key, value in schema.items() if key != "description"},
            }
            for name, schema in options.items()
        ),
    ]
