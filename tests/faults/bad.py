"""The bad set: requests that are refused, each with the statuses that are right for it.

By the row of docs/reliability.md that they are of. They are for the bundles of tests/client.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from tests.faults.kept import get, post
from tests.faults.pictures import b64, bad_images, coloured

MOOD, SUMS, ANIMALS = "/models/mood/predict", "/models/sums/predict", "/models/animals/predict"
V1_MOOD, V1_SUMS = "/v1/models/mood:predict", "/v1/models/sums:predict"
V2_SUMS, V2_MOOD = "/v2/models/sums/infer", "/v2/models/mood/infer"

TEXT = b'{"text":"good film"}'
BAD_REQUEST, NOT_FOUND, NO_METHOD, TOO_LARGE = 400, 404, 405, 413
NO_MEDIA, UNUSABLE, TOO_LONG_HEAD = 415, 422, 431


class Bad(NamedTuple):
    """A whole request, and what it may be answered with.

    One that no parser takes for a request is none in anybody's account.
    """

    name: str
    request: bytes
    statuses: frozenset[int]
    counts: bool = True


def bad(name: str, request: bytes, *statuses: int) -> Bad:
    return Bad(name, request, frozenset(statuses))


def _json(path: str, content: Any) -> bytes:
    return post(path, json.dumps(content).encode())


def deadlines() -> list[Bad]:
    """Row 9."""
    return [
        bad(f"deadline {junk[:9]}", post(MOOD, TEXT, "application/json", line), BAD_REQUEST)
        for junk in ("0", "-1", "abc", "1e3", "1.5", "")
        for line in (f"X-Request-Timeout-Ms: {junk}",)
    ]


def framing() -> list[Bad]:
    """Rows 34 and 41."""
    start = b"POST /models/mood/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    kind = b"Content-Type: application/json\r\n"
    length = b"Content-Length: %d\r\n" % len(TEXT)
    chunked = b"Transfer-Encoding: chunked\r\n"
    pieces = b"%x\r\n%b\r\n0\r\n\r\n" % (len(TEXT), TEXT)
    heads = {
        "both lengths": (kind + length + chunked, pieces),
        "two lengths": (kind + length + length, TEXT),
        "negative length": (kind + b"Content-Length: -5\r\n", TEXT),
        "endless length": (kind + b"Content-Length: 1%b\r\n" % (b"0" * 23), TEXT),
        "NUL": (kind + length + b"X-A: a\0b\r\n", TEXT),
        "space before colon": (kind + length + b"X-A : b\r\n", TEXT),
    }
    statuses = frozenset((BAD_REQUEST, TOO_LARGE))
    found = [
        Bad(name, start + head + b"\r\n" + body, statuses, counts=False)
        for name, (head, body) in heads.items()
    ]
    brew = post(MOOD, TEXT).replace(b"POST", b"BREW", 1)
    return [*found, Bad("method BREW", brew, statuses, counts=False)]


def heads() -> list[Bad]:
    """Rows 38, 40, 41, 42 and 114."""
    found = [
        bad(f"encoding {name}", post(MOOD, TEXT, "application/json", line), NO_MEDIA)
        for name in ("gzip", "deflate", "br", "gzip, br")
        for line in (f"Content-Encoding: {name}",)
    ]
    kinds = ("", "text/html", "application/x-www-form-urlencoded", "application/json/" + "a" * 999)
    found += [bad(f"kind {kind[:20]}", post(MOOD, TEXT, kind), NO_MEDIA) for kind in kinds]
    found += [
        bad(
            f"method {method}",
            post(MOOD, TEXT).replace(b"POST", method.encode(), 1),
            NO_METHOD,
            BAD_REQUEST,
        )
        for method in ("PUT", "DELETE", "TRACE")
    ]
    names = ("..", "%2e%2e", "a%2Fb", "%00", "a" * 300, "%C3%BC", "CON", "%20")
    found += [
        bad(f"model {name[:9]}", post(f"/models/{name}/predict", TEXT), NOT_FOUND, BAD_REQUEST)
        for name in names
    ]
    paths = ("/nothing", "/models/mood", "//livez", "/v2/models/none/ready", "/%2e%2e/etc/passwd")
    found += [bad(f"path {path}", post(path, TEXT), NOT_FOUND, NO_METHOD) for path in paths]
    return [*found, bad("query", post(MOOD + "?version=%ff", TEXT), NOT_FOUND, BAD_REQUEST)]


def parsing() -> list[Bad]:
    """Rows 47 to 53."""
    bodies = {
        "empty": b"",
        "list": b"[1]",
        "trailing": TEXT + b"x",
        "control": b'{"text":"a\nb"}',
        "utf-8": b'{"text":"\xff"}',
        "overlong": b'{"text":"\xc0\xaf"}',
        "utf-16": TEXT.decode().encode("utf-16"),
        "bom": b"\xef\xbb\xbf" + TEXT,
        "deep": b'{"text":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "deep elsewhere": b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        "NaN": b'{"text":NaN}',
        "surrogate": b'{"text":"\\ud800"}',
        "unknown keys": b"{%b}" % b",".join(b'"k%d":1' % n for n in range(2_000)),
        "numbers": b'{"text":[%b]}' % b",".join([b"1"] * 20_000),
        "no text": b"{}",
        "null": b'{"text":null}',
        "twice": b'{"items":[{"text":"good"},{"text":1}]}',
    }
    found = [bad(f"JSON {name}", post(MOOD, body), 400, 422, 413) for name, body in bodies.items()]
    numbers = (b"NaN", b"-Infinity", b"1e999", b"9" * 5_000, b'"1"', b"null")
    found += [
        bad(f"number {number[:9].decode()}", post(path, body % number), 400, 422)
        for number in numbers
        for path, body in (
            (SUMS, b'{"inputs":[1,2,3,%b]}'),
            (V1_SUMS, b'{"instances":[[1,2,3,%b]]}'),
        )
    ]
    return found


def base64s() -> list[Bad]:
    """Rows 55 and 56."""
    good = b64(coloured("red"))
    strings = (
        "!" + good, good[:20] + "\n" + good[20:], "-_-_", good.rstrip("=") + "A", "====",
        "data:image/png;base64," + good, "\u00e9" * 8, "",
        "http://127.0.0.1:9/x.png", "file:///etc/passwd", "/etc/passwd",
    )  # fmt: skip
    return [
        bad(f"base64 {string[:12]!r}", _json(ANIMALS, {"image_b64": string}), 400, 415, 422)
        for string in strings
    ]


def images() -> list[Bad]:
    """Rows 57 to 67."""
    found = []
    for name, data in bad_images().items():
        found.append(bad(f"raw {name}", post(ANIMALS, data, "image/png"), 400, 413, 415, 422))
        content = {"image_b64": b64(data)}
        found.append(bad(f"image {name}", _json(ANIMALS, content), 400, 413, 415, 422))
    return found


def texts() -> list[Bad]:
    """Rows 72 and 73."""
    strings = {"nothing": "", "blanks": "  \n ", "long": "good " * 2_000}
    found = [
        bad(f"text {name}", _json(MOOD, {"text": text}), UNUSABLE, TOO_LARGE)
        for name, text in strings.items()
    ]
    return [*found, bad("v1 nothing", _json(V1_MOOD, {"instances": []}), BAD_REQUEST)]


def tensors() -> list[Bad]:
    """Rows 77, 79 and 81."""
    given = {"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    changes: list[dict[str, Any]] = [
        {"shape": [1, 5]},
        {"shape": [1, -4]},
        {"shape": [2**62, 4]},
        {"shape": [4]},
        {"shape": 4},
        {"datatype": "INT64"},
        {"datatype": "BF16"},
        {"name": "other"},
        {"data": [1, 2, 3]},
        {"data": "1234"},
        {"parameters": {"binary_data_size": 16}},
        {"parameters": {"shared_memory_region": "a"}},
    ]
    found = [
        bad(f"tensor {change}", _json(V2_SUMS, {"inputs": [given | change]}), BAD_REQUEST)
        for change in changes
    ]
    found += [
        bad("no inputs", _json(V2_SUMS, {"inputs": []}), BAD_REQUEST),
        bad("two inputs", _json(V2_SUMS, {"inputs": [given, given]}), BAD_REQUEST),
        bad("output", _json(V2_SUMS, {"inputs": [given], "outputs": [{"name": "a"}]}), BAD_REQUEST),
        bad("row", _json(SUMS, {"inputs": [1, 2, 3]}), UNUSABLE),
        bad("rows", _json(SUMS, {"inputs": {"input": [[1, 2, 3, 4], [1]]}}), UNUSABLE),
        bad("name", _json(SUMS, {"inputs": {"other": [1, 2, 3, 4]}}), UNUSABLE),
    ]
    return found + [
        bad(f"ids {ids}", _json(V2_MOOD, {"inputs": _ids(*ids)}), BAD_REQUEST)
        for ids in ((-1, 4), (2, 64), (2**40, 1), (-(2**63), 1))
    ]


def _ids(*ids: int) -> list[dict[str, Any]]:
    names = ("input_ids", "attention_mask", "token_type_ids")
    rows = (list(ids), [1] * len(ids), [0] * len(ids))
    return [
        {"name": name, "shape": [1, len(ids)], "datatype": "INT64", "data": row}
        for name, row in zip(names, rows, strict=True)
    ]


def elsewhere() -> list[Bad]:
    """Routes that do not predict."""
    unknown = ("/models/none", "/v1/models/none", "/v2/models/none", "/v2/models/mood/versions/7")
    return [bad(f"GET {path}", get(path), NOT_FOUND) for path in unknown]


def bad_set() -> list[Bad]:
    """All of them: each is small, and refused at once."""
    kinds = (
        deadlines, framing, heads, parsing, base64s, images, texts, tensors, elsewhere,
    )  # fmt: skip
    return [one for kind in kinds for one in kind()]
