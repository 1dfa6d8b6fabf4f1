"""Bodies of the Open Inference Protocol that are refused: one line, and nothing left behind."""

from __future__ import annotations

import gc
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferctl.refusals import RequestError
from inferctl.server.dialects.v2.envelope import bodies
from inferctl.server.dialects.v2.signature import Signature
from inferctl.settings import LimitsSettings, ModelSettings
from tests.tasks.tinybundles import classifier, numbers, reader, task_of, tensor, write_tokenizer

from .doors import Door, over_the_wire
from .test_v2_infer import EVERY, INFER, ONE, send
from .test_v2_infer import KINDS as KINDS_OF_EVERY
from .v2 import LENGTH, Request, described, elements, encoded, in_json, raw, request
from .wiring import working

FOUR = ONE.tobytes()


def changed(**fields: Any) -> Request:
    """The usual input in JSON, but for some of its fields."""
    return request([in_json("input", ONE) | fields])


def binary(tensors: bytes, size: Any = None, **fields: Any) -> Request:
    parameters = {"binary_data_size": len(tensors) if size is None else size}
    return request([described("input", ONE, parameters=parameters) | fields], tensors)


def with_output(**fields: Any) -> Request:
    return request([in_json("input", ONE)], outputs=[{"name": "logits"} | fields])


def with_parameters(**parameters: Any) -> Request:
    return request([in_json("input", ONE)], parameters=parameters)


WRONG_SHAPE = "input: shape must be [rows, 4]"
WRONG_DATA = "input: data must be FP32 numbers of the shape, nested or flat"

REFUSED: list[tuple[Request, str]] = [
    (Request(b"", {}), "the JSON of the request is not valid"),
    (Request(b"[1]", {}), "the JSON of the request is not an object"),
    (Request(b"{}", {}), "inputs: give each of the model's inputs once: input"),
    (Request(b'{"inputs":[{"a":NaN}]}', {}), "the JSON of the request is not valid"),
    (Request(b"[" * 200_000, {}), "the JSON is larger than "),
    (Request(b"{}", {LENGTH: "3"}), "the body is shorter than "),
    (Request(b"{}", {LENGTH: "-1"}), "Inference-Header-Content-Length is not a number"),
    (Request(b"{}", {LENGTH: "9" * 40}), "Inference-Header-Content-Length is not a number"),
    (Request(b"{}", {"Content-Encoding": "gzip"}), "compressed bodies are not taken"),
    (Request(b"{}", {"Content-Encoding": "deflate"}), "compressed bodies are not taken"),
    (request([in_json("input", ONE)], id=3), "id: must be a string"),
    (request({"name": "input"}), "inputs: must be a list of objects"),  # type: ignore[arg-type]
    (request([in_json("input", ONE)] * 2), "inputs: the model has input"),
    (changed(name="other"), "inputs: the model has input"),
    (changed(name=["input"]), "inputs: the model has input"),
    (changed(datatype="FP64"), "input: datatype must be FP32"),
    (changed(datatype="BF16"), "input: datatype must be FP32; BF16 is not supported"),
    (changed(datatype="BYTES"), "input: datatype must be FP32"),
    (changed(shape=[4]), WRONG_SHAPE),
    (changed(shape=[1, 5]), WRONG_SHAPE),
    (changed(shape=[0, 4]), WRONG_SHAPE),
    (changed(shape=[-1, 4]), WRONG_SHAPE),
    (changed(shape=[True, 4]), WRONG_SHAPE),
    (changed(shape="14"), WRONG_SHAPE),
    (changed(shape=[2**62, 4]), "inputs: more than 256 rows"),
    (changed(shape=[2**63, 4]), "inputs: more than 256 rows"),
    (changed(shape=[257, 4]), "inputs: more than 256 rows"),
    (changed(shape=[2, 4]), WRONG_DATA),
    (changed(data=[1, 2, 3]), WRONG_DATA),
    (changed(data=[1, 2, 3, "4"]), WRONG_DATA),
    (changed(data=[1, 2, 3, None]), WRONG_DATA),
    (changed(data=[1, 2, 3, [4]]), WRONG_DATA),
    (changed(data=[[1, 2], [3, 4]]), WRONG_DATA),
    (changed(data=[True] * 4), WRONG_DATA),
    (changed(data=None), WRONG_DATA),
    (changed(data={"a": 1}), WRONG_DATA),
    (changed(data=[1, 2, 3, 1e39]), "input: row 0 holds a value outside -3.4"),
    (changed(parameters=[]), "parameters: must be an object"),
    (changed(parameters={"binary_data_size": 16}), "input: give its data or a whole number"),
    (changed(parameters={"shared_memory_region": "x"}), "shared memory is not supported"),
    (binary(FOUR, 12), "input: binary_data_size of this shape is 16"),
    (binary(FOUR, 17), "input: the body holds fewer bytes than its binary_data_size"),
    (binary(FOUR, "16"), "input: give its data or a whole number as binary_data_size"),
    (binary(FOUR, -1), "input: give its data or a whole number as binary_data_size"),
    (binary(FOUR + b"x", 16), "the body holds more bytes than its inputs have"),
    (binary(np.float32([0, 0, 0, np.nan]).tobytes()), "input: row 0 holds a number that is not"),
    (binary(np.float32([0, 0, -np.inf, 0]).tobytes()), "input: row 0 holds a number that is not"),
    (with_output(name="other"), "outputs: the model has logits"),
    (with_output(name=1), "outputs: the model has logits"),
    (with_output(parameters={"classification": -1}), "logits: classification must be"),
    (with_output(parameters={"classification": True}), "logits: classification must be"),
    (with_output(parameters={"shared_memory_region": "x"}), "shared memory is not supported"),
    (with_parameters(timeout=-1), "parameters.timeout: must be a whole number, 0 or more"),
    (with_parameters(timeout=1.5), "parameters.timeout: must be a whole number, 0 or more"),
    (with_parameters(priority="high"), "parameters.priority: must be a whole number, 0 or more"),
    (request([in_json("input", ONE)], outputs=[{"name": "logits"}] * 2), "outputs: ask for each"),
    (request([in_json("input", ONE)], outputs=["logits"]), "outputs: must be a list of objects"),
]  # fmt: skip


@pytest.mark.row(77, 79)
@pytest.mark.parametrize(("asked", "error"), REFUSED, ids=range(len(REFUSED)))
async def test_a_body_that_does_not_fit_is_refused(
    tmp_path: Path, asked: Request, error: str
) -> None:
    async with working(tmp_path, numbers()) as worker, over_the_wire(worker) as way:
        answer = await send(way, INFER, asked)
        assert (answer.status, list(answer.json)) == (400, ["error"])
        assert answer.json["error"].startswith(error)
        assert len(answer.body) < 512
        assert worker.slots_in_use() == 0


async def test_a_row_that_is_not_finite_is_named(tmp_path: Path, door: Door) -> None:
    rows = np.zeros((100, 4), np.float32)
    rows[77, 1] = np.inf
    async with working(tmp_path, numbers()) as worker, door(worker) as way:
        answer = await send(way, INFER, request([raw("input", rows)], rows.tobytes()))
        assert answer.json["error"] == "input: row 77 holds a number that is not finite"


@pytest.mark.row(81)
@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ([[2, -1, 3]], "input_ids: row 0 holds a value outside 0 to 63"),
        ([[2, 4, 3], [2, 64, 3]], "input_ids: row 1 holds a value outside 0 to 63"),
        ([[2] * 9], "input_ids: shape must be [rows, tokens] of at most 8 tokens"),
    ],
)
async def test_ids_outside_the_vocabulary_are_refused(
    tmp_path: Path, door: Door, ids: Any, error: str
) -> None:
    write_tokenizer(tmp_path, "good")
    array = np.array(ids)
    names = ("input_ids", "attention_mask", "token_type_ids")
    arrays = [array, np.ones_like(array), np.zeros_like(array)]
    parts = [raw(name, one) for name, one in zip(names, arrays, strict=True)]
    async with working(tmp_path, reader()) as worker, door(worker) as way:
        asked = request(parts, *[one.tobytes() for one in arrays])
        answer = await send(way, "/v2/models/mood/infer", asked)
        assert (answer.status, answer.json["error"]) == (400, error)


@pytest.mark.row(81)
@pytest.mark.parametrize("wrong", [-1, 10])
async def test_ids_of_a_tensor_model_are_bounded(tmp_path: Path, door: Door, wrong: int) -> None:
    ids = tensor("input", "int64", 4).model_copy(update={"bounds": (0, 9)})
    rows = np.array([[0, 9, 1, 2], [3, wrong, 4, 5]])
    named = {"instances": [{"input": row} for row in rows.tolist()]}
    async with working(tmp_path, numbers(inputs=(ids,))) as worker, door(worker) as way:
        for asked in (
            request([in_json("input", rows)]),
            request([raw("input", rows)], rows.tobytes()),
        ):
            answer = await send(way, INFER, asked)
            assert answer.status == 400
            assert answer.json["error"] == "input: row 1 holds a value outside 0 to 9"
        answer = await way.post_json(named, "/v1/models/sums:predict")
        assert answer.json["error"] == "input: row 1 holds a value outside 0 to 9"


async def test_inputs_that_differ_in_rows_or_tokens_are_refused(tmp_path: Path, door: Door) -> None:
    write_tokenizer(tmp_path, "good")
    names = ("input_ids", "attention_mask", "token_type_ids")
    async with working(tmp_path, reader()) as worker, door(worker) as way:
        for shape, what in (((2, 3), "rows"), ((1, 4), "tokens")):
            arrays = [
                np.ones((1, 3), np.int64),
                np.ones((1, 3), np.int64),
                np.ones(shape, np.int64),
            ]
            parts = [in_json(name, one) for name, one in zip(names, arrays, strict=True)]
            answer = await send(way, "/v2/models/mood/infer", request(parts))
            assert answer.json["error"] == f"inputs: all of them need the same number of {what}"


async def test_half_floats_have_no_json(tmp_path: Path, door: Door) -> None:
    half = numbers(
        inputs=(tensor("input", "float16", 4),), outputs=(tensor("logits", "float16", 3),)
    )
    array = ONE.astype(np.float16)
    async with working(tmp_path, half) as worker, door(worker) as way:
        answer = await send(way, INFER, request([in_json("input", array)]))
        assert answer.json["error"] == "input: FP16 has no JSON; send it as binary data"
        answer = await send(way, INFER, request([raw("input", array)], array.tobytes()))
        assert answer.json["error"] == "logits: FP16 has no JSON; ask for binary data"


@pytest.mark.parametrize(
    ("body", "rows", "error"),
    [
        (b"", 1, "image: its bytes are not 1 elements"),
        (b"\1\0\0", 1, "image: its bytes are not 1 elements"),
        (b"\xff\xff\xff\xff", 1, "image: its bytes are not 1 elements"),
        (elements(b"a", b"b"), 1, "image: its bytes are not 1 elements"),
        (elements(b"a"), 2, "image: its bytes are not 2 elements"),
        (elements(*[b""] * 4), 4, "inputs: more than 3 rows"),
        (elements(b"a"), [1, 2], "image: shape of BYTES must be [rows] or [rows, 1]"),
        (elements(b"a"), [], "image: shape of BYTES must be [rows] or [rows, 1]"),
    ],
)  # fmt: skip
async def test_bytes_that_are_no_elements_are_refused(
    tmp_path: Path, door: Door, body: bytes, rows: Any, error: str
) -> None:
    shape = rows if isinstance(rows, list) else [rows]
    part = encoded("image") | {"shape": shape, "parameters": {"binary_data_size": len(body)}}
    few = ModelSettings(limits=LimitsSettings(max_rows=3))
    async with working(tmp_path, classifier(), settings=few) as worker, door(worker) as way:
        answer = await send(way, "/v2/models/animals/infer", request([part], body or b""))
        assert (answer.status, answer.json["error"][: len(error)]) == (400, error)


async def test_strings_that_are_none_are_refused(tmp_path: Path, door: Door) -> None:
    part = {"name": "image", "datatype": "BYTES", "shape": [1]}
    async with working(tmp_path, classifier()) as worker, door(worker) as way:
        for data in (["%"], [1], "x", ["x", "y"], [["x", "y"]], [[]], None):
            answer = await send(way, "/v2/models/animals/infer", request([part | {"data": data}]))
            assert (answer.status, list(answer.json)) == (400, ["error"])
        pair = request([part | {"data": ["x"]}] * 2)
        answer = await send(way, "/v2/models/animals/infer", pair)
        assert answer.json["error"] == "image: rows of BYTES are all that the model needs"


def readers() -> list[Signature]:
    few = LimitsSettings(max_rows=4, max_text_chars=100)
    return [
        Signature(manifest, few, task_of(manifest, limits=few))
        for manifest in (numbers(), EVERY, classifier())
    ]


READERS = readers()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMED = st.sampled_from(["input", "image", "a", "b", "c", "d", "e", "logits", "A", "label_names"])
SHAPES = st.lists(st.sampled_from([-1, 0, 1, 2, 3, 4, 8, 2**63]), max_size=4)
KINDS = st.sampled_from(["FP32", "UINT8", "BYTES", "FP16", "INT64", "INT32", "BF16"])
SIZES = st.sampled_from([0, 1, 4, 8, 16, 32, 64, 192, 2**63, -1])
PARAMETERS = st.dictionaries(
    st.sampled_from(["binary_data_size", "binary_data", "classification", "timeout", "priority"]),
    SIZES | VALUES,
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "name": NAMED | VALUES,
        "shape": SHAPES | VALUES,
        "datatype": KINDS | VALUES,
        "data": st.lists(st.integers(-1, 300) | st.floats() | st.text(max_size=4)) | VALUES,
        "parameters": PARAMETERS | VALUES,
    },
)
CONTENTS = st.fixed_dictionaries(
    {"inputs": st.lists(PARTS, max_size=5) | VALUES},
    optional={"outputs": st.lists(PARTS, max_size=3) | VALUES, "parameters": PARAMETERS | VALUES,
              "id": VALUES},
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    signature=st.sampled_from(READERS),
    content=CONTENTS,
    tensors=st.binary(max_size=200),
    shift=st.integers(-3, 3),
)
def test_whatever_is_framed_is_read_or_refused(
    signature: Signature, content: Any, tensors: bytes, shift: int
) -> None:
    header = json.dumps(content).encode()
    for length in (None, 0, max(0, len(header) + shift)):
        with suppress(RequestError):  # nothing else, which would be answered with 500
            read_whole(signature, header + tensors, length)


def test_what_was_read_goes_with_its_last_reference() -> None:
    """Arrays that wait for the collector would be memory without bounds."""
    request_of = {"JSON": request([in_json("input", ONE)]), "binary": binary(FOUR)}
    for asked in request_of.values():
        length = asked.headers.get(LENGTH)
        gc.collect()
        gc.disable()
        try:
            read_whole(READERS[0], asked.body, int(length) if length else None)
            assert gc.collect() == 0
        finally:
            gc.enable()


def read_whole(signature: Signature, body: bytes, length: int | None) -> None:
    ask = bodies(signature, length).read(body)
    if not ask.form.off_loop:
        ask.form.preprocess(ask.item)


def valid_bodies() -> list[tuple[Signature, bytes, int]]:
    numbers_in = request([raw("input", ONE)], FOUR, binary=True)
    arrays = {name: np.ones((2, 2, 2), kind) for name, kind in KINDS_OF_EVERY.items()}
    tensors = b"".join(array.tobytes() for array in arrays.values())
    mixed = request([raw(name, array) for name, array in arrays.items()], tensors, binary=True)
    images = request([encoded("image", b"ab", b"c")], elements(b"ab", b"c"), id="me")
    pairs = zip(READERS, (numbers_in, mixed, images), strict=True)
    return [(signature, one.body, int(one.headers[LENGTH])) for signature, one in pairs]


VALID = valid_bodies()
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), st.binary(max_size=3)), max_size=4)


@settings(max_examples=300, deadline=None)
@given(valid=st.sampled_from(VALID), edits=EDITS, shift=st.integers(-2, 2))
def test_a_body_that_was_damaged_is_read_or_refused(
    valid: tuple[Signature, bytes, int], edits: list[tuple[float, int, bytes]], shift: int
) -> None:
    """The first part of each edit says where, the second how much goes, the third what comes."""
    signature, body, length = valid
    for share, gone, new in edits:
        place = int(share * len(body))
        body = body[:place] + new + body[place + gone :]
    if not edits and not shift:
        read_whole(signature, body, length)
        return
    with suppress(RequestError):
        read_whole(signature, body, length + shift)
