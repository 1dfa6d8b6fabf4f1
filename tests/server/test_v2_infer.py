"""`/v2/models/{name}/infer`, through both doors: tensors, images and texts in; tensors out."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inferctl.arena.wire import Verdict
from tests.tasks.pictures import encoded as encoded_image
from tests.tasks.pictures import plain
from tests.tasks.tinybundles import (
    classifier,
    detector,
    numbers,
    reader,
    tensor,
    write_tokenizer,
)

from .doors import Door
from .v2 import Request, elements, encoded, in_json, outputs, raw, request
from .wiring import few_slots, outputs_of, working

INFER = "/v2/models/sums/infer"
ONE = np.arange(4, dtype=np.float32).reshape(1, 4) / 3
SEVERAL = np.arange(12, dtype=np.float32).reshape(3, 4) / 7
RED, BLUE = (encoded_image(plain(colour, size=(40, 20)), "PNG") for colour in ("red", "blue"))

# A model of every dtype, whose outputs are its inputs.
KINDS = {"a": "float32", "b": "float16", "c": "int64", "d": "int32", "e": "uint8"}
EVERY = numbers(
    name="every",
    inputs=tuple(tensor(name, kind, 2, 2) for name, kind in KINDS.items()),
    outputs=tuple(tensor(name.upper(), kind, 2, 2) for name, kind in KINDS.items()),
)


def echo(model: Any, slot: int) -> None:
    """The first numbers of the row; where outputs have the inputs' shapes, all of it."""
    for own, given in zip(
        outputs_of(model, slot).values(), model.arena.inputs.values(), strict=False
    ):
        own[:] = given[slot].ravel()[: own.size].reshape(own.shape)


async def send(way: Any, path: str, asked: Request, **more: Any) -> Any:
    headers = asked.headers | more.pop("headers", {})
    return await way.ask(path, asked.body, headers=headers, **more)


async def test_json_is_answered_with_json(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, numbers(), fill=echo) as worker, door(worker) as way:
        answer = await send(way, INFER, request([in_json("input", ONE)], id="mine"))
        assert answer.status == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.json == {
            "model_name": "sums",
            "model_version": "3",
            "id": "mine",
            "outputs": [
                {
                    "name": "logits",
                    "shape": [1, 3],
                    "datatype": "FP32",
                    "data": pytest.approx([0, 1 / 3, 2 / 3]),
                }
            ],
        }
        assert worker.slots_in_use() == 0
    assert [entry["status"] for entry in worker.logged()] == [200]


async def test_tensors_are_answered_with_tensors(tmp_path: Path, door: Door) -> None:
    asked = request([raw("input", ONE)], ONE.tobytes(), binary=True)
    async with working(tmp_path, numbers(), fill=echo) as worker, door(worker) as way:
        for _ in range(2):  # the second finds its JSON known
            answer = await send(way, INFER, asked)
            assert answer.headers["content-type"] == "application/octet-stream"
            assert np.array_equal(outputs(answer)["logits"], ONE[:, :3])
            for name in ("x-request-id", "server-timing"):
                assert name in answer.headers
        assert len(worker.predict.routes[INFER.encode()].dialect._signatures) == 1


async def test_json_that_is_known_with_another_body_is_read_anew(
    tmp_path: Path, door: Door
) -> None:
    asked = request([raw("input", ONE)], ONE.tobytes())
    async with working(tmp_path, numbers(), fill=echo) as worker, door(worker) as way:
        assert (await send(way, INFER, asked)).status == 200
        answer = await send(way, INFER, Request(asked.body + b"x", asked.headers))
        assert (answer.status, answer.json) == (
            400,
            {"error": "the body holds more bytes than its inputs have"},
        )


async def test_many_rows_are_one_request(tmp_path: Path, door: Door) -> None:
    asked = request([raw("input", SEVERAL)], SEVERAL.tobytes(), binary=True)
    async with working(tmp_path, numbers(), fill=echo) as worker, door(worker) as way:
        answer = await send(way, INFER, asked)
        assert np.array_equal(outputs(answer)["logits"], SEVERAL[:, :3])
        answer = await send(way, INFER, request([in_json("input", SEVERAL)]))
        assert np.array_equal(outputs(answer)["logits"], SEVERAL[:, :3])
        assert worker.slots_in_use() == 0


async def test_every_dtype_comes_back_as_it_went_in_json_and_tensors_mixed(
    tmp_path: Path, door: Door
) -> None:
    arrays = {name: np.arange(8).reshape(2, 2, 2).astype(kind) for name, kind in KINDS.items()}
    inputs = [raw("e", arrays["e"]), in_json("c", arrays["c"]), raw("b", arrays["b"])]
    inputs += [in_json("a", arrays["a"]), in_json("d", arrays["d"])]
    wanted = [
        {"name": "A"},
        {"name": "B", "parameters": {"binary_data": True}},
        {"name": "C", "parameters": {"binary_data": True}},
        {"name": "D"},
        {"name": "E"},
    ]
    asked = request(inputs, arrays["e"].tobytes(), arrays["b"].tobytes(), outputs=wanted)
    async with working(tmp_path, EVERY, fill=echo) as worker, door(worker) as way:
        answer = await send(way, "/v2/models/every/infer", asked)
        assert answer.status == 200, answer.body
        found = outputs(answer)
        assert list(found) == ["A", "B", "C", "D", "E"]
        for name, array in arrays.items():
            assert found[name.upper()].dtype == array.dtype
            assert np.array_equal(found[name.upper()], array)


async def test_nested_data_is_taken_like_flat(tmp_path: Path, door: Door) -> None:
    nested = in_json("input", SEVERAL) | {"data": SEVERAL.tolist()}
    async with working(tmp_path, numbers(), fill=echo) as worker, door(worker) as way:
        answer = await send(way, INFER, request([nested], strange={"unknown": 1}))
        assert np.array_equal(outputs(answer)["logits"], SEVERAL[:, :3])


async def test_a_raw_body_is_the_only_input(tmp_path: Path, door: Door) -> None:
    asked = Request(SEVERAL.tobytes(), {"Inference-Header-Content-Length": "0"})
    async with working(tmp_path, numbers(), fill=echo) as worker, door(worker) as way:
        answer = await send(way, INFER, asked)
        assert np.array_equal(outputs(answer)["logits"], SEVERAL[:, :3])
        for body in (b"", SEVERAL.tobytes()[:-1]):
            assert (await send(way, INFER, Request(body, asked.headers))).status == 400
        several = await way.ask("/v2/models/sums/infer", b"x" * 16 * 257, headers=asked.headers)
        assert several.json["error"].startswith("input: more than 256 rows")


async def test_the_version_may_be_named(tmp_path: Path, door: Door) -> None:
    asked = request([in_json("input", ONE)])
    async with working(tmp_path, numbers()) as worker, door(worker) as way:
        for version, status in (("3", 200), ("2", 404), ("x", 404)):
            answer = await send(way, f"/v2/models/sums/versions/{version}/infer", asked)
            assert answer.status == status
        assert answer.json["error"].startswith("no such model or version")
        missing = await send(way, "/v2/models/other/infer", asked)
        assert (missing.status, list(missing.json)) == (404, ["error"])
        get = await way.ask(INFER, method="GET")
        assert (get.status, get.headers["allow"], list(get.json)) == (405, "POST", ["error"])


async def test_encoded_images_are_decoded_and_their_boxes_are_in_their_pixels(
    tmp_path: Path, door: Door
) -> None:
    path = "/v2/models/shapes/infer"
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        alone = await send(way, path, request([encoded("image", RED)], elements(RED), binary=True))
        both = await send(way, path, request([encoded("image", RED, BLUE)], elements(RED, BLUE)))
        texts = [base64.b64encode(image).decode() for image in (RED, BLUE)]
        as_text = {"name": "image", "shape": [2, 1], "datatype": "BYTES"}
        for data in (texts, [[text] for text in texts]):
            in_base64 = await send(way, path, request([as_text | {"data": data}]))
            assert in_base64.json == both.json
        assert outputs(alone)["boxes"].shape == (1, 4, 4)
        assert outputs(both)["boxes"].shape == (2, 4, 4)
        assert (outputs(both)["boxes"] == (0, 0, 20, 20)).all()
        assert (outputs(both)["labels"] == 0).all()
        assert "decode;dur=" in alone.headers["server-timing"]
        assert worker.slots_in_use() == 0


async def test_an_images_tensor_keeps_the_graphs_boxes(tmp_path: Path, door: Door) -> None:
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        asked = request([raw("image", pixels)], pixels.tobytes())
        answer = await send(way, "/v2/models/shapes/infer", asked)
        assert (outputs(answer)["boxes"] == (0, 0, 0.5, 1)).all()


async def test_texts_are_tokenised(tmp_path: Path, door: Door) -> None:
    write_tokenizer(tmp_path, "good")
    async with working(tmp_path, reader()) as worker, door(worker) as way:
        path = "/v2/models/mood/infer"
        in_binary = request(
            [encoded("text", b"good", b"good good")], elements(b"good", b"good good")
        )
        text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["good"]}
        assert outputs(await send(way, path, in_binary))["scores"].shape == (2, 3)
        answer = await send(way, path, request([text]))
        assert outputs(answer)["scores"].tolist() == [[0.5, 0.25, 0.125]]


async def test_token_ids_are_taken_padded_or_not(tmp_path: Path, door: Door) -> None:
    write_tokenizer(tmp_path, "good")
    ids = np.array([[2, 4, 3, 0, 0], [2, 4, 4, 3, 0]])
    mask = (ids > 0).astype(np.int64)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    parts = [raw(name, array) for name, array in inputs.items()]
    tensors = [array.tobytes() for array in inputs.values()]
    async with working(tmp_path, reader(), verdict=None) as worker, door(worker) as way:
        asking = asyncio.ensure_future(send(way, "/v2/models/mood/infer", request(parts, *tensors)))
        rows = [await worker.engine.next() for _ in range(2)]
        arena = worker.models[0].arena
        for row, (_, slot) in enumerate(rows):
            assert arena.tokens[slot] == 4, "no row needs the last column"
            assert arena.inputs["input_ids"][slot].tolist() == [*ids[row][:4], 0, 0, 0, 0]
        for one in rows:
            worker.engine.answer(one)
        assert outputs(await asking)["scores"].shape == (2, 3)


async def test_outputs_may_be_chosen_and_classes_named(tmp_path: Path, door: Door) -> None:
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    top = {"name": "scores", "parameters": {"classification": 2, "binary_data": True}}
    wanted = [top, {"name": "label_names"}]
    async with working(tmp_path, classifier()) as worker, door(worker) as way:
        asked = request([raw("image", pixels)], pixels.tobytes(), outputs=wanted)
        found = outputs(await send(way, "/v2/models/animals/infer", asked))
        assert found == {
            "scores": [["0.500000:0:cat", "0.250000:1:dog"]] * 2,
            "label_names": ["cat", "cat"],
        }


async def test_a_detectors_labels_are_named(tmp_path: Path, door: Door) -> None:
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    wanted = [{"name": "label_names"}, {"name": "scores", "parameters": {"classification": 1}}]
    async with working(tmp_path, detector()) as worker, door(worker) as way:
        asked = request([raw("image", pixels)], pixels.tobytes(), outputs=wanted)
        found = outputs(await send(way, "/v2/models/shapes/infer", asked))
        assert found == {"label_names": [["cat"] * 4], "scores": [["0.500000:0"]]}


async def test_a_timeout_may_only_shorten(tmp_path: Path, door: Door) -> None:
    settings = few_slots()
    async with (
        working(tmp_path, numbers(), verdict=None, settings=settings) as worker,
        door(worker) as way,
    ):
        for microseconds, least_s, most_s in ((2_000_000, 1, 2), (900_000_000, 4, 5)):
            parameters = {"timeout": microseconds, "priority": 2}
            asked = request([in_json("input", ONE)], parameters=parameters)
            asking = asyncio.ensure_future(send(way, INFER, asked))
            row = await worker.engine.next()
            arena = worker.models[0].arena
            left_s = arena.deadline_s[row[1]] - arena.submitted_s[row[1]]
            assert least_s < left_s <= most_s
            assert arena.bulk[row[1]] == 1
            worker.engine.answer(row)
            assert (await asking).status == 200


async def test_a_timeout_that_passes_is_504(tmp_path: Path, door: Door) -> None:
    asked = request([in_json("input", ONE)], parameters={"timeout": 1})
    async with working(tmp_path, numbers(), verdict=None) as worker, door(worker) as way:
        answer = await send(way, INFER, asked)
        assert (answer.status, list(answer.json)) == (504, ["error"])
        worker.engine.answer(await worker.engine.next(), Verdict.CANCELLED)
        await worker.slots_are_used(0)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_failures_have_the_protocols_form(tmp_path: Path, door: Door, status: int) -> None:
    verdict = Verdict.FAILED if status == 500 else Verdict.DONE
    async with (
        working(tmp_path, numbers(), slots=1, verdict=verdict) as worker,
        door(worker) as way,
    ):
        if status == 429:
            worker.models[0].admit(1, float("inf"), 0.0)
        if status == 503:
            worker.link.give_up()
        answer = await send(way, INFER, request([in_json("input", ONE)]))
        assert (answer.status, list(answer.json)) == (status, ["error"])
        assert ("retry-after" in answer.headers) == (status != 500)
        assert "x-request-id" in answer.headers


async def test_a_row_that_fails_is_named(tmp_path: Path, door: Door) -> None:
    async with working(tmp_path, classifier()) as worker, door(worker) as way:
        asked = request([encoded("image", RED, b"no image")], elements(RED, b"no image"))
        answer = await send(way, "/v2/models/animals/infer", asked)
        assert answer.status == 400
        assert answer.json["error"].startswith("row 1: the image is not JPEG, PNG or WebP")
        assert worker.slots_in_use() == 0


async def test_what_json_cannot_say_is_refused_and_binary_carries_it(
    tmp_path: Path, door: Door
) -> None:
    def infinite(model: Any, slot: int) -> None:
        outputs_of(model, slot)["logits"][:] = np.inf

    async with working(tmp_path, numbers(), fill=infinite) as worker, door(worker) as way:
        answer = await send(way, INFER, request([in_json("input", ONE)]))
        assert (answer.status, answer.json["error"]) == (
            500,
            "logits is not finite, which JSON cannot say; ask for binary data",
        )
        answer = await send(way, INFER, request([in_json("input", ONE)], binary=True))
        assert np.isinf(outputs(answer)["logits"]).all()
