"""Requests that are answered, in each dialect and form, and what is right for each.

They are for the bundles of tests/client, whose answers a person can work out.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import numpy as np

from tests.faults.bad import ANIMALS, MOOD, SUMS, V1_MOOD, V1_SUMS, V2_MOOD, V2_SUMS
from tests.faults.kept import Address, Kept, Reply, post
from tests.faults.pictures import b64, coloured

TIMES = re.compile(rb',?"(?:inference|latency)_ms":[0-9.e-]+')
COLOURS = {"red": "cat", "lime": "dog", "blue": "owl"}
ROW = np.array([[1, 2, 3, 4]], np.float32)


class Good(NamedTuple):
    """A whole request, a part that its answer must have, and, once it is known, all of it."""

    name: str
    request: bytes
    part: bytes
    answer: bytes = b""

    def is_answered_by(self, reply: Reply) -> bool:
        """Whether it is the right answer, to the last digit; the times may be any."""
        return reply.status == 200 and said(reply) == self.answer


def said(reply: Reply) -> bytes:
    """An answer without its times."""
    return TIMES.sub(b"", reply.body)


def good_set(address: Address) -> list[Good]:
    """All of them, with the answers that each gets when it is alone."""
    found = [*_texts(), *_images(), *_numbers()]
    with Kept(address) as client:
        replies = [client.ask(good.request) for good in found]
    for good, reply in zip(found, replies, strict=True):
        assert reply.status == 200, (good.name, reply)
        assert good.part in reply.body, (good.name, reply)
    return [good._replace(answer=said(reply)) for good, reply in zip(found, replies, strict=True)]


def _json(name: str, path: str, content: Any, part: str) -> Good:
    return Good(name, post(path, json.dumps(content).encode()), part.encode())


def _texts() -> list[Good]:
    found = []
    for label in ("good", "bad"):
        text, part = f"a {label} film", f'"label":"{label}"'
        chunked = post(MOOD, b"", "text/plain", "Transfer-Encoding: chunked")
        chunked = chunked.replace(b"Content-Length: 0\r\n", b"")
        pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in text.encode()) + b"0\r\n\r\n"
        both = f'"label":"{label}","score":'
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}
        outputs = [{"name": "scores", "parameters": {"classification": 1}}]
        found += [
            _json(f"{label} text", MOOD, {"text": text}, part),
            _json(f"{label} by default", "/predict", {"text": text}, part),
            _json(f"{label} items", MOOD, {"items": [{"text": text}] * 3}, both),
            _json(f"{label} v1", V1_MOOD, {"instances": [text, {"text": text}]}, part),
            _json(f"{label} v2", V2_MOOD, {"inputs": [tensor], "outputs": outputs}, f":{label}"),
            Good(f"{label} plain", post(MOOD, text.encode(), "text/plain"), part.encode()),
            Good(f"{label} in chunks", chunked + pieces, part.encode()),
        ]
    return found


def _images() -> list[Good]:
    found = []
    for colour, label in COLOURS.items():
        part = f'"predictions":[{{"label":"{label}"'
        for kind in ("PNG", "JPEG", "WEBP"):
            data = coloured(colour, kind)
            raw = post(ANIMALS, data, f"image/{kind.lower()}")
            found += [
                Good(f"{colour} {kind}", raw, part.encode()),
                _json(f"{colour} {kind} JSON", ANIMALS, {"image_b64": b64(data)}, part),
            ]
    white = post("/models/shapes/predict", coloured("white"), "image/png")
    return [*found, Good("white", white, b'"detections":[{')]


def _numbers() -> list[Good]:
    tensor = {"name": "input", "shape": [1, 4], "datatype": "FP32"}
    header = json.dumps(
        {"inputs": [tensor | {"parameters": {"binary_data_size": ROW.nbytes}}]}
    ).encode()
    length = f"Inference-Header-Content-Length: {len(header)}"
    row = ROW[0].tolist()
    return [
        _json("row", SUMS, {"inputs": row}, "[10.0,4.0,1.0]"),
        _json("rows", SUMS, {"inputs": {"input": [row, row]}}, "[10.0,4.0,1.0],[10.0"),
        _json("v1 row", V1_SUMS, {"instances": [row]}, "[10.0,4.0,1.0]"),
        _json("v2 row", V2_SUMS, {"inputs": [tensor | {"data": row}]}, "[10.0,4.0,1.0]"),
        Good(
            "v2 binary",
            post(V2_SUMS, header + ROW.tobytes(), "application/octet-stream", length),
            b'"data":[10.0,4.0,1.0]',
        ),
    ]
