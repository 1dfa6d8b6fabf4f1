"""Requests of the Open Inference Protocol, put together by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import pack
from typing import Any

import numpy as np
import orjson

from .asgi import Answer

LENGTH = "Inference-Header-Content-Length"
NAMES = {"u1": "UINT8", "i4": "INT32", "i8": "INT64", "f2": "FP16", "f4": "FP32", "f8": "FP64"}


def described(name: str, array: Any, **more: Any) -> dict[str, Any]:
    """An input without its data."""
    kind = NAMES[array.dtype.str[1:]]
    return {"name": name, "shape": list(array.shape), "datatype": kind, **more}


def in_json(name: str, array: Any) -> dict[str, Any]:
    return described(name, array, data=array.ravel().tolist())


def raw(name: str, array: Any) -> dict[str, Any]:
    return described(name, array, parameters={"binary_data_size": array.nbytes})


def elements(*pieces: bytes) -> bytes:
    """A BYTES tensor."""
    return b"".join(pack("<I", len(piece)) + piece for piece in pieces)


def encoded(name: str, *pieces: bytes) -> dict[str, Any]:
    size = len(elements(*pieces))
    parameters = {"binary_data_size": size}
    return {"name": name, "shape": [len(pieces)], "datatype": "BYTES", "parameters": parameters}


@dataclass(frozen=True)
class Request:
    """A body and its headers."""

    body: bytes
    headers: dict[str, str]


def request(
    inputs: Sequence[Mapping[str, Any]], *tensors: bytes, binary: bool = False, **fields: Any
) -> Request:
    """JSON, and tensors behind it; with `binary` the outputs are asked for as tensors too."""
    if binary:
        fields["parameters"] = fields.get("parameters", {}) | {"binary_data_output": True}
    header = orjson.dumps({"inputs": inputs, **fields})
    headers = {LENGTH: str(len(header))} if tensors else {}
    return Request(header + b"".join(tensors), headers)


def outputs(answer: Answer) -> dict[str, Any]:
    """The outputs by name: arrays, or lists of strings."""
    length = int(answer.headers.get(LENGTH.lower(), len(answer.body)))
    content, rest = orjson.loads(answer.body[:length]), answer.body[length:]
    found: dict[str, Any] = {}
    for part in content["outputs"]:
        data: Any = part.get("data")
        if data is None:
            size = part["parameters"]["binary_data_size"]
            piece, rest = rest[:size], rest[size:]
            data = taken_apart(piece) if part["datatype"] == "BYTES" else piece
        found[part["name"]] = as_array(part, data)
    assert rest == b""
    return found


def as_array(part: Mapping[str, Any], data: Any) -> Any:
    if part["datatype"] == "BYTES":
        return np.array(data, object).reshape(part["shape"]).tolist()
    kind = next(kind for kind, name in NAMES.items() if name == part["datatype"])
    flat = np.frombuffer(data, kind) if isinstance(data, bytes) else np.array(data, kind)
    return flat.reshape(part["shape"])


def taken_apart(data: bytes) -> list[str]:
    found = []
    while data:
        size = int.from_bytes(data[:4], "little")
        found.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return found
