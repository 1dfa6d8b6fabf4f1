"""Inputs that are refused, in every dialect that takes their kind, by the row they are of.

They are for the bundles of tests/client. What a client wrote in them says SECRET: no answer may.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from inferctl.settings import LimitsSettings, ServerSettings
from tests.faults.bad import ANIMALS, MOOD, SUMS, V1_MOOD, V1_SUMS, V2_MOOD, V2_SUMS
from tests.faults.pictures import b64
from tests.tasks import pictures
from tests.tasks.test_decode_refusals import OTHER_FORMATS

V1_ANIMALS, V2_ANIMALS = "/v1/models/animals:predict", "/v2/models/animals/infer"
FIELDS = {ANIMALS: "image_b64", MOOD: "text", SUMS: "inputs"}
PLAIN = (V1_ANIMALS, V1_MOOD, V1_SUMS, V2_ANIMALS, V2_MOOD, V2_SUMS)
JSON, TEXT, IMAGE = "application/json", "text/plain", "image/png"

LIMITS = LimitsSettings()
MAX_CHARS, MAX_BODY_BYTES = LIMITS.max_text_chars, ServerSettings().max_body_bytes
NAMES = b",".join(b'"SECRET%d":1' % number for number in range(500_000))
NUMBERS = b",".join([b"1"] * 2_000_000)


class Bad(NamedTuple):
    """What is asked, and the statuses that are right for it."""

    row: int
    name: str
    path: str
    body: bytes
    kind: str
    statuses: tuple[int, ...]


def _json(content: Any) -> bytes:
    return json.dumps(content).encode()


def _everywhere(row: int, name: str, body: bytes, *statuses: int) -> list[Bad]:
    """A body for each path; the field of the native ones stands for `%f`."""
    native = [
        Bad(row, name, path, body.replace(b"%f", field.encode()), JSON, statuses)
        for path, field in FIELDS.items()
    ]
    outer = {"v1": b"instances", "v2": b"inputs"}
    plain = [
        Bad(row, name, path, body.replace(b"%f", outer[path[1:3]]), JSON, (400,)) for path in PLAIN
    ]
    return native + plain


def _parsing() -> Iterable[Bad]:
    good = b'{"%f":["SECRET"]}'
    broken = {
        "empty": b"", "list": b"[1]", "trailing": good + b"x", "control": b'{"%f":"SE\nCRET"}',
        "utf-8": b'{"%f":"SECRET\xff"}', "bom": b"\xef\xbb\xbf" + good,
        "utf-16": good.decode().encode("utf-16"), "overlong": b'{"%f":"SECRET\xc0\xaf"}',
        "surrogate": b'{"%f":"SECRET\\ud800"}', "5,000 digits": b'{"%f":' + b"9" * 5000 + b"}",
    }  # fmt: skip
    for name, body in broken.items():
        row = {"overlong": 50, "surrogate": 50, "5,000 digits": 49}.get(name, 47)
        yield from _everywhere(row, name, body, 400)
    for depth in (33, 1000, 100_000):
        nested = b"[" * depth + b"]" * depth
        yield from _everywhere(48, f"depth {depth}", b'{"%f":' + nested + b"}", 400, 413, 422)
        aside = b'{"SECRET":' + nested + b"}"
        yield from _everywhere(48, f"depth {depth} aside", aside, 400, 413, 422)
    for number in (b"NaN", b"-Infinity", b"1e999", b"9" * 4000):
        name = number[:9].decode()
        yield from _everywhere(49, name, b'{"%f":' + number + b"}", 400, 422)
        row = b'{"%f":[1,2,3,' + number + b"]}"
        yield Bad(49, f"row {name}", SUMS, row.replace(b"%f", b"inputs"), JSON, (400, 422))
        body = b'{"image_b64":"","top_k":' + number + b"}"
        yield Bad(49, f"option {name}", ANIMALS, body, JSON, (400, 422))
    yield from _everywhere(52, "unknown names", b"{%b}" % NAMES, 413, 422)
    yield from _everywhere(53, "numbers", b'{"%f":[' + NUMBERS + b"]}", 413, 422)


def _strings() -> Iterable[Bad]:
    """Texts in the place of base64."""
    good = b64(pictures.encoded(pictures.plain(), "PNG"))
    broken = {
        "junk": "!SECRET" + good, "newline": good[:20] + "\n" + good[20:], "urlsafe": "-_-_SECRET",
        "no padding": "SECRETSE"[:7], "padding inside": "SECR=ETS", "empty": "",
        "data": "data:image/png;base64," + good, "non-ASCII": "SECRET\u00e9\u00e9",
    }  # fmt: skip
    for name, text in broken.items():
        yield from _images_as_text(55, name, text, 400)
    long = "A" * ((MAX_BODY_BYTES - 200) // 4 * 4)
    yield from _images_as_text(55, "14 MiB", long, 413)
    for url in ("http://127.0.0.1:9/SECRET.png", "file:///etc/passwd"):
        yield from _images_as_text(56, url[:4], url, 422)
    yield from _images_as_text(56, "path", "/etc/passwd", 400)


def _images_as_text(row: int, name: str, text: str, status: int) -> Iterable[Bad]:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    yield Bad(row, name, ANIMALS, _json({"image_b64": text}), JSON, (status,))
    for content in ({"instances": [{"b64": text}]}, {"instances": [text]}):
        yield Bad(row, name, V1_ANIMALS, _json(content), JSON, (400,))
    yield Bad(row, name, V2_ANIMALS, _json({"inputs": [tensor]}), JSON, (400,))


def _image_files() -> Iterable[Bad]:
    photo = pictures.photo(200, 150)
    for side in (12_000, 20_000):
        yield from _image(57, f"bomb {side}", pictures.one_bit_bomb(side), 413)
    for kind in pictures.FORMATS:
        data = pictures.encoded(photo, kind)
        for share in (0.01, 0.5, 0.99):
            yield from _image(64, f"{kind} {share}", data[: int(len(data) * share)], 422)
    png = bytearray(pictures.encoded(photo, "PNG"))
    png[len(png) // 2] ^= 0xFF
    yield from _image(64, "CRC", bytes(png), 422)
    jpeg = pictures.encoded(photo, "JPEG")
    yield from _image(64, "no end", jpeg.removesuffix(pictures.END_OF_IMAGE), 422)
    grey = pictures.encoded(Image.new("L", (4096, 4096), 128), "JPEG", progressive=True)
    for scans in (50, 200, 1000):
        yield from _image(65, f"{scans} scans", pictures.with_extra_scans(grey, scans), 422)
    for kind, data in OTHER_FORMATS.items():
        yield Bad(67, f"raw {kind}", ANIMALS, data, IMAGE, (415,))
        if 0 < len(data) < 10_000:
            yield from _images_as_text(67, kind, b64(data), 415)


def _image(row: int, name: str, data: bytes, status: int) -> Iterable[Bad]:
    yield Bad(row, f"raw {name}", ANIMALS, data, IMAGE, (status,))
    yield from _images_as_text(row, name, b64(data), status)


def _texts() -> Iterable[Bad]:
    for name, text in {"nothing": "", "blanks": " \t\n\u2003", "mark": "\ufeff "}.items():
        yield from _text(72, name, text, 422)
    yield from _text(50, "NUL", "SECRET\0", 422)
    word = "SECRET" * 2_000_000
    for size in (MAX_CHARS + 1, 10**6, 10**7):
        yield from _text(73, f"{size} characters", word[:size], 413)


def _text(row: int, name: str, text: str, status: int) -> Iterable[Bad]:
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
    yield Bad(row, name, MOOD, _json({"text": text}), JSON, (status,))
    yield Bad(row, f"raw {name}", MOOD, text.encode(), TEXT, (status,))
    yield Bad(row, name, V1_MOOD, _json({"instances": [text]}), JSON, (400,))
    yield Bad(row, name, V2_MOOD, _json({"inputs": [tensor]}), JSON, (400,))


def _tensors() -> Iterable[Bad]:
    row = [1, 2, 3, 4]
    wrong: dict[str, Any] = {
        "dtype": ["SECRET", 2, 3, 4], "rank": [[[1, 2, 3, 4]]], "dim": [1, 2, 3],
        "missing": {}, "unknown": {"SECRET": row}, "extra": {"input": row, "SECRET": row},
    }  # fmt: skip
    for name, inputs in wrong.items():
        yield Bad(77, name, SUMS, _json({"inputs": inputs}), JSON, (422,))
        yield Bad(77, name, V1_SUMS, _json({"instances": [inputs]}), JSON, (400,))
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": row}
    changes: dict[str, dict[str, Any]] = {
        "dtype": {"datatype": "INT64"}, "rank": {"shape": [4]}, "dim": {"shape": [1, 5]},
        "2^62 rows": {"shape": [2**62, 4]}, "-4": {"shape": [1, -4]}, "name": {"name": "SECRET"},
    }  # fmt: skip
    for name, change in changes.items():
        yield Bad(77, name, V2_SUMS, _json({"inputs": [tensor | change]}), JSON, (400,))
    output = {"inputs": [tensor], "outputs": [{"name": "SECRET"}]}
    for name, content in {
        "missing": {},
        "extra": {"inputs": [tensor] * 2},
        "output": output,
    }.items():
        yield Bad(77, name, V2_SUMS, _json(content), JSON, (400,))
    for ids in ((-1, 4), (2, 64)):
        names = ("input_ids", "attention_mask", "token_type_ids")
        parts = zip(names, (ids, (1, 1), (0, 0)), strict=True)
        inputs = [
            {"name": name, "shape": [1, 2], "datatype": "INT64", "data": data}
            for name, data in parts
        ]
        yield Bad(81, f"ids {ids}", V2_MOOD, _json({"inputs": inputs}), JSON, (400,))


@cache
def bad_inputs() -> tuple[Bad, ...]:
    """All of them."""
    kinds = (_parsing, _strings, _image_files, _texts, _tensors)
    return tuple(bad for kind in kinds for bad in kind())


def not_finite() -> bytes:
    """A row in binary that holds no number."""
    header = _json({
        "inputs": [{
            "name": "input", "shape": [1, 4], "datatype": "FP32",
            "parameters": {"binary_data_size": 16},
        }]
    })  # fmt: skip
    return header + np.array([1, np.nan, 2, np.inf], np.float32).tobytes()
