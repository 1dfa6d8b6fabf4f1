"""The document of the service says what its code does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from inferctl.bundles.manifest import Manifest
from inferctl.server.openapi import REF, Problem
from inferctl.settings import ModelSettings
from inferctl.tasks.base import JSON, parse_json
from tests.tasks.tinybundles import classifier, detector, reader, task_of, write_tokenizer

from .asgi import get, post_json
from .wiring import roster_of, working

Document = dict[str, Any]

EACH = [detector(), classifier(), reader()]


async def document(folder: Path, *manifests: Manifest, **options: Any) -> Document:
    write_tokenizer(folder, "good")
    async with working(folder, *manifests, **options) as worker:
        answer = await get(worker.app, "/openapi.json")
        assert answer.status == 200
        content: Document = answer.json
        return content


def without_definitions(schema: Document) -> Document:
    return {key: value for key, value in schema.items() if key != "$defs"}


@pytest.mark.parametrize("manifest", EACH, ids=lambda manifest: manifest.task)
async def test_the_schemas_are_those_that_decode_and_answer(
    tmp_path: Path, manifest: Manifest
) -> None:
    write_tokenizer(tmp_path, "good")
    async with working(tmp_path, manifest) as worker:
        task = worker.models[0].task
        content = (await get(worker.app, "/openapi.json")).json
    operation = content["paths"]["/predict"]["post"]
    schemas = content["components"]["schemas"]
    request = task.request.model_json_schema(ref_template=REF)
    answer = task.answer.model_json_schema(ref_template=REF, mode="serialization")
    for either, expected in (
        (operation["requestBody"]["content"][JSON]["schema"], request),
        (operation["responses"]["200"]["content"][JSON]["schema"], answer),
    ):
        schema, many = either["anyOf"]
        items = schemas[many["$ref"].split("/")[-1]]["properties"]["items"]["items"]
        assert schema in (items, *items.get("anyOf", ()))
        assert schemas[schema["$ref"].split("/")[-1]] == without_definitions(expected)
        for name, definition in expected.get("$defs", {}).items():
            assert schemas[name] == definition
    assert request["additionalProperties"] is False


@pytest.mark.parametrize("manifest", EACH, ids=lambda manifest: manifest.task)
async def test_the_example_is_answered(tmp_path: Path, manifest: Manifest) -> None:
    write_tokenizer(tmp_path, "good")
    async with working(tmp_path, manifest) as worker:
        content = (await get(worker.app, "/openapi.json")).json
        body = content["paths"]["/predict"]["post"]["requestBody"]["content"][JSON]
        task = worker.models[0].task
        parse_json(task.request, orjson.dumps(body["example"]))
        answer = await post_json(worker.app, body["example"])
        assert answer.status == 200
        task.answer.model_validate_json(answer.body, strict=True)


@pytest.mark.parametrize("manifest", EACH, ids=lambda manifest: manifest.task)
async def test_every_content_type_of_the_task_is_told(tmp_path: Path, manifest: Manifest) -> None:
    content = await document(tmp_path, manifest)
    types = content["paths"]["/predict"]["post"]["requestBody"]["content"]
    if manifest.text:
        assert set(types) == {JSON, "text/plain"}
        assert types["text/plain"]["schema"] == {"type": "string"}
    else:
        assert set(types) == {JSON, "image/jpeg", "image/png", "image/webp"}
        assert types["image/png"]["schema"] == {"type": "string", "format": "binary"}


@pytest.mark.parametrize(
    ("manifest", "options"),
    [
        (detector(), ["confidence_threshold", "max_detections"]),
        (classifier(), ["top_k"]),
        (reader(), []),
    ],
    ids=["detection", "classification", "text"],
)
async def test_the_query_of_a_raw_body_is_told(
    tmp_path: Path, manifest: Manifest, options: list[str]
) -> None:
    operation = (await document(tmp_path, manifest))["paths"]["/predict"]["post"]
    told = {part["name"]: part for part in operation["parameters"] if part["in"] == "query"}
    assert list(told) == ["version", *options]
    for option in options:
        field = task_of(manifest).request.model_json_schema()["properties"][option]
        shared = ("type", "minimum", "maximum")
        assert told[option]["schema"] == {key: field[key] for key in shared} | {
            "title": field["title"]
        }
        assert f"{field['default']} if it is not given" in told[option]["description"]


async def test_every_model_has_its_path_and_the_default_two(tmp_path: Path) -> None:
    several = (detector(), classifier())
    paths = (await document(tmp_path, *several))["paths"]
    assert "/predict" not in paths
    assert {"/models/shapes/predict", "/models/animals/predict"} <= paths.keys()
    marked = {"animals": ModelSettings(default=True)}
    paths = (await document(tmp_path, *several, settings=marked))["paths"]
    own, default = (paths[path]["post"] for path in ("/models/animals/predict", "/predict"))
    summary = f"the default model: {own['summary']}"
    assert default == own | {"operationId": "predict", "summary": summary}


async def test_two_models_of_one_schema_name_do_not_mix(tmp_path: Path) -> None:
    content = await document(
        tmp_path, detector(name="a-b", labels=("x",)), detector(name="a.b", labels=("y",))
    )
    answers = {
        schema["$ref"]
        for name in ("a-b", "a.b")
        for schema in content["paths"][f"/models/{name}/predict"]["post"]["responses"]["200"][
            "content"
        ][JSON]["schema"]["anyOf"]
    }
    assert len(answers) == 4
    assert unresolved(content) == []


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def unresolved(content: Document) -> list[str]:
    known = {REF.format(model=name) for name in content["components"]["schemas"]}
    return [reference for reference in references(content) if reference not in known]


async def test_every_reference_leads_somewhere(tmp_path: Path) -> None:
    assert unresolved(await document(tmp_path, *EACH)) == []


async def test_every_operation_has_an_id_of_its_own(tmp_path: Path) -> None:
    content = await document(tmp_path, *EACH, settings={"mood": ModelSettings(default=True)})
    ids = [
        operation["operationId"]
        for path in content["paths"].values()
        for operation in path.values()
    ]
    assert len(ids) == len(set(ids))


async def test_problems_are_as_the_document_says(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        content = (await get(worker.app, "/openapi.json")).json
        responses = content["paths"]["/predict"]["post"]["responses"]
        for answer in (
            await post_json(worker.app, {}),
            await post_json(worker.app, IMAGE_THAT_IS_NONE),
            await post_json(worker.app, {}, query="version=9"),
        ):
            assert str(answer.status) in responses
            problem = Problem.model_validate_json(answer.body, strict=True)
            assert problem.model_dump(exclude_none=True) == answer.json


IMAGE_THAT_IS_NONE = {"image_b64": "%"}


async def test_another_roster_has_another_document(tmp_path: Path) -> None:
    async with working(tmp_path, detector(), classifier()) as worker:
        before = (await get(worker.app, "/openapi.json")).body
        assert (await get(worker.app, "/openapi.json")).body == before
        kept = worker.models[1]
        roster = roster_of(kept).model_copy(update={"default": kept.name})
        worker.catalogue.renew(roster, {kept.place: kept})
        content = (await get(worker.app, "/openapi.json")).json
        assert {"/predict", "/models/animals/predict"} <= content["paths"].keys()
        assert "/models/shapes/predict" not in content["paths"]
        assert unresolved(content) == []
