"""Requests that nobody should send: each is made of a seed and a number, and so can be made again.

What a service has is read from its document and its route table; nothing here names a route.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import orjson
from starlette.routing import Route

from inferctl.server.predict import Predict
from inferctl.server.rest import build_rest
from inferctl.settings import ServerSettings
from inferctl.tasks.images import EXAMPLE_PNG_B64
from tests.faults import hostile
from tests.faults.kept import Address, Kept, get

METHODS_OF_DOCUMENT = ("get", "post", "put", "delete", "patch", "head", "options")
JSON = b"application/json"
EXAMPLE_B64 = EXAMPLE_PNG_B64.encode()
# Large, and always the same: asked for now and then.
HEAVY = frozenset((b"/docs/swagger-ui-bundle.js", b"/docs/swagger-ui.css", b"/openapi.json"))


class Valid(NamedTuple):
    """A valid body: JSON in tokens, or one of its own kind; so many bytes of tensors follow it."""

    kind: bytes
    tokens: tuple[bytes, ...]
    tensor_bytes: int = 0


@dataclass(frozen=True)
class Door:
    """A path that predicts, and valid bodies for it."""

    path: bytes
    dialect: str
    bodies: tuple[Valid, ...]
    has_pictures: bool


class Surface(NamedTuple):
    """All that a service answers to."""

    doors: tuple[Door, ...]
    others: tuple[tuple[bytes, bytes], ...]  # method, path


class Fuzzed(NamedTuple):
    """A request. One that is not framed may be none, or several: its connection is its own.

    `identity` is the request id that its answer must have, if it must have one.
    """

    number: int
    data: bytes
    is_framed: bool
    to_head: bool
    identity: bytes


def surface_of(address: Address) -> Surface:
    """Read what a service has."""
    with Kept(address) as client:
        document = client.ask(get("/openapi.json")).json
        models = {model["name"]: model for model in client.ask(get("/models")).json["models"]}
    routes = {
        (method.upper(), path)
        for path, operations in document["paths"].items()
        for method in METHODS_OF_DOCUMENT
        if method in operations
    }
    for route in build_rest(ServerSettings()).routes:
        if isinstance(route, Route):  # those of a router that is included are in the document
            routes |= {(method, route.path) for method in route.methods or ()}
    others: list[tuple[bytes, bytes]] = []
    doors: list[Door] = []
    for method, path in sorted(routes):
        dialects = [one.name for one in Predict.dialects if one.pattern.fullmatch(path)]
        if dialects:
            doors.append(_door(path, dialects[0], models))
            continue
        named = [path.replace("{name}", name) for name in models] if "{" in path else [path]
        others += [(method.encode(), one.replace("{version}", "1").encode()) for one in named]
    return Surface(tuple(doors), tuple(others))


def _door(path: str, dialect: str, models: dict[str, Any]) -> Door:
    parts = path.replace(":", "/").split("/")
    named = [model for name, model in models.items() if name in parts]
    model = named[0] if named else next(m for m in models.values() if m["default"])
    kind = model["task"]
    if dialect == "v1":
        contents = _instances(model)
    elif dialect == "v2":
        contents = _inferences(model)
    else:
        contents = [model["example"], {"items": [model["example"]] * 2}]
        if kind == "tensor":
            contents.append({"inputs": [[1, 2, 3, 4], [5, 6, 7, 8]]})
    bodies = [_valid(content) for content in contents]
    if dialect == "native":
        kinds = [one.encode() for one in model["content_types"]]
        bodies += [Valid(one, (b"A quiet film",)) for one in kinds if one != JSON]
    return Door(path.encode(), dialect, tuple(bodies), kind.startswith("image"))


def _valid(content: Any) -> Valid:
    sizes = [
        one["parameters"]["binary_data_size"]
        for one in content.get("inputs", ())
        if isinstance(one, dict) and "parameters" in one
    ]
    return Valid(JSON, tuple(hostile.TOKEN.findall(orjson.dumps(content))), sum(sizes))


def _instances(model: dict[str, Any]) -> list[Any]:
    example = model["example"]
    if model["task"] == "tensor":
        (row,) = example["inputs"].values()
        return [{"instances": [row, row]}, {"instances": [example["inputs"]]}]
    (text,) = example.values()
    return [{"instances": [text, example]}, {"instances": [{"b64": text}]}]


def _inferences(model: dict[str, Any]) -> list[Any]:
    tensors, binary = [], []
    for tensor in model["inputs"]:
        row = [2 if side == "tokens" else side for side in tensor["shape"][1:]]
        dtype = np.dtype(tensor["dtype"])
        code = {"f": "FP", "i": "INT", "u": "UINT"}[dtype.kind]
        count = int(np.prod(row))
        named = {"name": tensor["name"], "shape": [1, *row]}
        named |= {"datatype": f"{code}{dtype.itemsize * 8}"}
        tensors.append(named | {"data": [1] * count})
        binary.append(named | {"parameters": {"binary_data_size": count * dtype.itemsize}})
    outputs = [{"name": model["outputs"][0]["name"], "parameters": {"classification": 1}}]
    found = [
        {"id": "1", "inputs": tensors},
        {"inputs": tensors, "outputs": outputs, "parameters": {"timeout": 900_000, "priority": 2}},
        {"inputs": binary, "parameters": {"binary_data_output": True}},
    ]
    if model["task"] != "tensor":
        (value,) = model["example"].values()
        name = "text" if model["task"].startswith("text") else "image"
        encoded = {"name": name, "shape": [1], "datatype": "BYTES", "data": [value]}
        found += [{"inputs": [encoded]}] * 2
    return found


class Grammar:
    """Makes requests for a surface."""

    def __init__(self, surface: Surface, address: Address, seed: int) -> None:
        self._surface = surface
        self._host = b"Host: 127.0.0.1:%d" % address[1]
        self._seed = seed
        self._rng = random.Random()

    def request(self, number: int) -> Fuzzed:
        """Number `number` of this seed."""
        rng = self._rng
        rng.seed(self._seed << 40 | number)
        if rng.random() < 0.8:
            method, path, kind, body, fields = self._to_a_door(rng)
        else:
            method, path = rng.choice(self._surface.others)
            if path in HEAVY and rng.random() < 0.95:
                path = b"/livez"
            body, kind = rng.choice((b"", b"", b"{}")), b""
            fields = []
        if rng.random() < 0.06:
            method = rng.choice(hostile.METHODS)
        path = self._path(rng, path)
        fields += [b"Content-Type: " + kind] if kind else []
        if rng.random() < 0.25:
            fields.append(rng.choice(hostile.FIELDS))
        identity = b""
        if rng.random() < 0.5 and not any(one.startswith(b"X-Request-ID") for one in fields):
            identity = b"f%d" % number
            fields.insert(0, b"X-Request-ID: " + identity)
        fuzzed = Fuzzed(number, body, True, method == b"HEAD", identity)
        return self._framed(rng, fuzzed, fields, method, path)

    def _to_a_door(self, rng: random.Random) -> tuple[bytes, bytes, bytes, bytes, list[bytes]]:
        door = rng.choice(self._surface.doors)
        kind, tokens, tensor_bytes = rng.choice(door.bodies)
        fields: list[bytes] = []
        if kind == JSON:
            body = self._json(rng, door, tokens)
            if tensor_bytes and rng.random() < 0.9:
                fields.append(b"Inference-Header-Content-Length: %d" % len(body))
                size = tensor_bytes if rng.random() < 0.8 else rng.choice((0, 4, 16, 1000))
                body += rng.choice((bytes, rng.randbytes))(size)
        elif kind.startswith(b"image"):
            body = rng.choice(hostile.PICTURES)
            if rng.random() < 0.6:
                body = hostile.mutated_bytes(rng, body)
        else:
            body = hostile.mutated_bytes(rng, tokens[0])
        if rng.random() < 0.08:
            kind = rng.choice(hostile.TYPES)
        return b"POST", door.path, kind, body, fields

    def _json(self, rng: random.Random, door: Door, tokens: Sequence[bytes]) -> bytes:
        chance = rng.random()
        body = b"".join(tokens) if chance < 0.15 else hostile.mutated_json(rng, tokens)
        if door.has_pictures and chance > 0.5:
            body = body.replace(EXAMPLE_B64, rng.choice(hostile.PICTURES_B64))
        if chance > 0.93:
            body = hostile.mutated_bytes(rng, body)
        return body

    def _path(self, rng: random.Random, path: bytes) -> bytes:
        chance = rng.random()
        if chance < 0.08:
            path += b"?" + rng.choice(hostile.QUERIES)
        elif chance < 0.14:
            parts = path.split(b"/")
            parts[int(rng.random() * len(parts))] = rng.choice(hostile.SEGMENTS)
            path = b"/".join(parts)
        elif chance < 0.16:
            path += rng.choice(hostile.ENDS)
        elif chance < 0.17:
            path = path.replace(b"/", rng.choice((b"//", b"/./", b"%2F", b"\\")), 2)
        return path

    def _framed(
        self, rng: random.Random, fuzzed: Fuzzed, fields: list[bytes], method: bytes, path: bytes
    ) -> Fuzzed:
        """Put the parts together, at times wrongly."""
        body, is_framed, version = fuzzed.data, path.startswith(b"/"), b" HTTP/1.1"
        lines = [self._host, *fields]
        length = b"Content-Length: %d" % len(body)
        chance = rng.random()
        if chance < 0.04:
            length = b"Transfer-Encoding: chunked"
            body = _chunked(rng, body)
        elif chance < 0.08:
            is_framed = False
            lines.insert(int(rng.random() * len(lines)), rng.choice(hostile.ODD_FIELDS))
        elif chance < 0.09:
            is_framed = False
            length = rng.choice((*hostile.ODD_FIELDS[:10], b"Transfer-Encoding: chunked"))
            body = rng.choice((body, body + body, rng.choice(hostile.CHUNKS)))
        elif chance < 0.1:
            is_framed = False
            method = rng.choice(hostile.ODD_METHODS)
        elif chance < 0.11:
            is_framed = False
            version = rng.choice(hostile.ODD_VERSIONS)
        if not (not body and method != b"POST" and rng.random() < 0.8):
            lines.append(length)
        if not all(33 <= byte < 127 for byte in path):
            is_framed = False
        data = b"\r\n".join((method + b" " + path + version, *lines, b"", body))
        if chance > 0.98:
            is_framed = False
            data = hostile.mutated_bytes(rng, data) if chance > 0.985 else data + data
        return fuzzed._replace(data=data, is_framed=is_framed)


def _chunked(rng: random.Random, body: bytes) -> bytes:
    """A body in pieces."""
    size = rng.choice((1, 7, 100, 4096)) if len(body) < 3_000 else 4096
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
