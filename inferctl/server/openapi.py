"""The OpenAPI document of the hot paths, from the same models that decode them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from inferctl.server.offer import Offer
from inferctl.server.problem import Problem
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


PROBLEM: Document = {
    "application/problem+json": {"schema": {"$ref": REF.format(model=Problem.__name__)}}
}


HEADERS: list[Document] = [
    {
        "name": "X-Request-ID",
        "in": "header",
        "description": "comes back with the answer, and stands in the log, if it is 1 to 64 "
        "letters, digits, dots, dashes and underscores; else one is made",
        "schema": {"type": "string"},
    },
    {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "description": "how long the answer is of use; the server has a default and a maximum",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    },
    {
        "name": "X-Priority",
        "in": "header",
        "description": "bulk waits for interactive",
        "schema": {"type": "string", "enum": ["interactive", "bulk"], "default": "interactive"},
    },
]


def add_predict_paths(
    document: Document, offers: Sequence[Offer], default: str | None = None
) -> Document:
    """Add `/predict` and each model's `/models/{name}/predict`, with exact schemas."""
    pairs: list[tuple[type[BaseModel], Any]] = [(Problem, "serialization")]
    for offer in offers:
        pairs += [(model, "validation") for model in offer.requests]
        pairs += [(model, "serialization") for model in offer.answers]
    names, definitions = models_json_schema(pairs, ref_template=REF)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(definitions["$defs"])
    for offer in offers:
        operation = _operation(offer, names)
        document["paths"][f"/models/{offer.name}/predict"] = {"post": operation}
        if offer.name == default:
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
        JSON: {
            "schema": {"anyOf": [names[model, "validation"] for model in offer.requests]},
            "example": task.example(),
        }
    }
    content |= {media_type: {"schema": raw_schema} for media_type in task.media_types}
    answers = [names[model, "serialization"] for model in offer.answers]
    answer = {JSON: {"schema": {"anyOf": answers}}}
    return {
        "parameters": [*_query(task), *HEADERS],
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


def _query(task: Task) -> list[Document]:
    """The query: the version, and for raw bodies the options that JSON carries in its body."""
    version = {
        "name": "version",
        "in": "query",
        "description": "a number, a label, or latest; another than the one that answers by default",
        "schema": {"type": "string"},
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
                "description": f"{schema['description']}; with a raw body only, "
                f"{schema['default']} if it is not given",
                # With a default, /docs would send it beside a JSON body, which has options inside.
                "schema": {
                    key: value
                    for key, value in schema.items()
                    if key not in ("description", "default")
                },
            }
            for name, schema in options.items()
        ),
    ]
