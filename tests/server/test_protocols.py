"""The document of the other servers' protocols says what their paths take and answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.bundles.manifest import Manifest
from inferctl.server.protocols import InferAnswer, InferRequest
from inferctl.server.v2 import PlainError
from inferctl.tasks.base import JSON, Timed
from tests.tasks.tinybundles import classifier, detector, numbers, reader, write_tokenizer

from .asgi import get, post_json
from .test_openapi import unresolved
from .test_v2_infer import EVERY
from .wiring import working

EACH = [detector(), classifier(), reader(), numbers()]


@pytest.mark.parametrize("manifest", EACH, ids=lambda manifest: manifest.task)
@pytest.mark.parametrize("version", ["", "/versions/3"])
async def test_the_examples_are_answered_as_the_document_says(
    tmp_path: Path, manifest: Manifest, version: str
) -> None:
    write_tokenizer(tmp_path, "good")
    async with working(tmp_path, manifest) as worker:
        document = (await get(worker.app, "/openapi.json")).json
        assert unresolved(document) == []

        path = f"/v2/models/{manifest.name}{version}/infer"
        body = document["paths"][path]["post"]["requestBody"]["content"][JSON]
        InferRequest.model_validate(body["example"])
        answer = await post_json(worker.app, body["example"], path)
        assert answer.status == 200
        InferAnswer.model_validate_json(answer.body, strict=True)

        path = f"/v1/models/{manifest.name}{version}:predict"
        operation = document["paths"][path]["post"]
        body = operation["requestBody"]["content"][JSON]
        answer = await post_json(worker.app, body["example"], path)
        schema = operation["responses"]["200"]["content"][JSON]["schema"]
        prediction = schema["properties"]["predictions"]["items"]
        if manifest.task == "tensor":
            assert prediction == {}
        else:
            (found,) = answer.json["predictions"]
            assert sorted(found) == sorted(prediction["required"])
            assert not found.keys() & Timed.model_fields.keys()


async def test_errors_are_as_the_document_says(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker:
        document = (await get(worker.app, "/openapi.json")).json
        for path in ("/v1/models/sums:predict", "/v2/models/sums/infer"):
            answer = await post_json(worker.app, {}, path)
            assert str(answer.status) in document["paths"][path]["post"]["responses"]
            PlainError.model_validate_json(answer.body, strict=True)


async def test_what_has_no_json_has_no_example(tmp_path: Path) -> None:
    async with working(tmp_path, EVERY) as worker:
        document = (await get(worker.app, "/openapi.json")).json
        body = document["paths"]["/v2/models/every/infer"]["post"]["requestBody"]
        assert "example" not in body["content"][JSON]


async def test_the_cold_paths_are_told_without_fastapis_errors(tmp_path: Path) -> None:
    async with working(tmp_path, numbers()) as worker:
        document = (await get(worker.app, "/openapi.json")).json
        for path in ("/v2", "/v2/models/{name}/ready", "/v2/repository/index", "/v1/models/{name}"):
            for operation in document["paths"][path].values():
                assert "422" not in operation["responses"]
        assert "HTTPValidationError" not in document["components"]["schemas"]
