"""What a fuzzer says in the place of what is expected: values, names, headers, framings."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tests.faults.pictures import b64, bad_images, good_images, scan_bomb

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\s"\[\]{}:,]+|[\[\]{}:,]')

# Values that JSON has.
VALUES: tuple[bytes, ...] = (
    b"null", b"true", b"false", b"0", b"-0", b"1", b"-1", b"0.5", b"1e308", b"3.5e38", b"3.4e38",
    b"1e-400", b"9" * 4000, b"9" * 5000, b"2147483648", b"-2147483649", b"9223372036854775808",
    b"18446744073709551616", b"1e999", b"-1e999", b'""', b'" "', b'"\\u0000"', b'"\\ud800"',
    b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\xf0\x9f\x98\x80"', b'"e\xcc\x81\xcc\x81"',
    b'"\xe2\x80\x8b"', b'"%s"' % (b"a" * 2001), b'"../../etc/passwd"', b'"http://127.0.0.1:9/"',
    b'"file:///etc/passwd"', b'"data:image/png;base64,AAAA"', b'"__proto__"', b'"{}"', b'"AAAA"',
    b"{}", b"[]", b"[[]]", b'{"":0}', b"[" * 40 + b"]" * 40, b"[1,2,3,4]", b'{"b64":"AAAA"}',
    b"[[1,2,3,4],[5,6,7,8]]", b"[%b]" % b",".join([b"1"] * 300), b'["good","bad"]',
    b"[" * 2000 + b"]" * 2000, b'{"a":' * 300 + b"0" + b"}" * 300,
)  # fmt: skip
# And such as it has not.
JUNK: tuple[bytes, ...] = (
    b"NaN", b"-Infinity", b"Infinity", b"01", b"+1", b".5", b"1.", b"0x10", b"-", b"1e", b"\x00",
    b"\xef\xbb\xbf", b"\xff", b"/**/", b"'a'", b"undefined", b'"\xff\xfe"', b'"\xc0\xaf"', b'"\\x"',
    b'"\n"', b'"', b"[" * 5000, b",", b":", b"}", b"]",
)  # fmt: skip
NAMES: tuple[bytes, ...] = tuple(
    b'"%b"' % name
    for name in (
        b"text", b"image_b64", b"inputs", b"items", b"instances", b"outputs", b"parameters", b"id",
        b"name", b"shape", b"datatype", b"data", b"b64", b"binary_data_size", b"binary_data",
        b"binary_data_output", b"classification", b"timeout", b"priority", b"top_k", b"input",
        b"confidence_threshold", b"max_detections", b"image", b"input_ids", b"attention_mask",
        b"scores", b"labels", b"label_names", b"FP32", b"FP16", b"BF16", b"BYTES", b"INT64",
        b"BOOL", b"shared_memory_region", b"sequence_id", b"signature_name", b"x" * 300,
    )
)  # fmt: skip

METHODS = (
    b"GET", b"HEAD", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"POST", b"TRACE", b"PROPFIND",
)  # fmt: skip
# A parser may end such a connection, or take what follows for something else than a request.
ODD_METHODS = (b"CONNECT", b"PRI", b"get", b"BREW", b"", b"P\x00ST", b"A" * 300)

SEGMENTS = (
    b"..", b".", b"", b"%2e%2e", b"%2F", b"a%2Fb", b"%00", b"%", b"%zz", b"%ff", b"%C3%BC",
    b"\xc3\xbc",
    b"CON", b"%20", b"a" * 300, b"none", b"mood", b"MOOD", b"1", b"-1", b"99999999999999999999",
    b"versions", b"latest", b"predict", b"infer", b":predict", b"mood:predict", b"*", b"'", b"<a>",
)  # fmt: skip
ENDS = (b"/", b"//", b"/..", b"%20", b"?", b"#a", b";a", b"/" + b"a" * 9000)
QUERIES = (
    b"version=1", b"version=2", b"version=latest", b"version=", b"version=%00", b"version=-1",
    b"model=mood", b"model=none", b"model=../..", b"top_k=1", b"top_k=0", b"top_k=1e9",
    b"top_k=%F0", b"confidence_threshold=0.5", b"confidence_threshold=nan", b"max_detections=-1",
    b"a=b", b"=", b"&&&", b"%", b"%zz=%zz", b"a=b&" * 40, b"a" * 2000, b"version=1&version=2",
    b"\xff",
    b"version=9" + b"9" * 5000,
)  # fmt: skip

TYPES = (
    b"application/json", b"image/png", b"image/jpeg", b"image/webp", b"text/plain",
    b"application/octet-stream", b"application/json; charset=utf-16", b"", b"*/*", b"text/html",
    b"multipart/form-data; boundary=a", b"application/x-www-form-urlencoded", b"image/svg+xml",
    b"\xff", b"application/json;" + b"a" * 2000, b"APPLICATION/JSON", b" application/json ;",
)  # fmt: skip
# Each leaves the request a whole one on a connection that may go on.
FIELDS = (
    b"X-Request-Timeout-Ms: 1", b"X-Request-Timeout-Ms: 999999999", b"X-Request-Timeout-Ms: -1",
    b"X-Request-Timeout-Ms: 1e3", b"X-Request-Timeout-Ms: \xb2", b"X-Priority: bulk",
    b"X-Priority: urgent", b"X-Priority:", b"Inference-Header-Content-Length: 0",
    b"Inference-Header-Content-Length: 999999999", b"Inference-Header-Content-Length: -1",
    b"Inference-Header-Content-Length: 10", b"Content-Encoding: gzip",
    b"Content-Encoding: identity",
    b"Content-Encoding: ", b"Accept: text/html", b"Accept-Encoding: gzip", b"Range: bytes=0-0",
    b"If-None-Match: *", b"If-Modified-Since: x", b"Cookie: a=b", b"Authorization: Bearer a",
    b"Authorization: Basic !", b"X-Forwarded-For: ::1", b"Forwarded: for=a", b"X-Api-Key: a",
    b"traceparent: 00-0-0-0", b"X-Request-ID: a\tb", b"X-Request-ID: " + b"a" * 65,
    b"Expect: 100-continue",
    b"X-Long: " + b"a" * 4000, b"Connection: keep-alive", b"Connection: close", b"Via: 1.1 a",
    b"X-HTTP-Method-Override: DELETE", b"Referer: \x7f", b"Trailer: X-A", b"Accept-Language: \xe9",
)  # fmt: skip
# Each may make another request of it, or none.
ODD_FIELDS = (
    b"Content-Length: 0", b"Content-Length: 7", b"Content-Length: -1", b"Content-Length: 1e3",
    b"Content-Length: 9" + b"9" * 22, b"Content-Length:", b"Content-Length: 99999999",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: x",
    b"Transfer-Encoding: \x0bchunked", b"Upgrade: websocket\r\nConnection: upgrade",
    b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\nConnection: Upgrade, HTTP2-Settings", b"Expect: x",
    b"X-A: a\x00b", b"X-A : b", b"X-A: a\nX-B: b", b"X-A: a\rb", b" folded", b"nocolon", b": a",
    b"",
    b"X\x00: a", b"X\xff: a", b"Host: other", b"Host:", b"Host: a b", b"X-A: " + b"a" * 9000,
    b"X-A: " + b"a" * 40_000, b"\r\n".join(b"X-%d: a" % n for n in range(120)), b"Origin: http://a",
)  # fmt: skip
ODD_VERSIONS = (
    b" HTTP/1.0", b" HTTP/2.0", b" HTTP/0.9", b"", b" HTTP/1.1 ", b" HTTP/9", b" http/1.1",
    b"  HTTP/1.1",
)  # fmt: skip
CHUNKS = (
    b"0\r\n\r\n", b"5\r\nab\r\n0\r\n\r\n", b"-1\r\n\r\n", b"g\r\n\r\n", b"ffffffffffffffffff\r\n",
    b"1;" + b"a" * 20_000 + b"\r\na\r\n0\r\n\r\n", b"2\r\nab0\r\n\r\n", b"0\r\nX-A: a\r\n\r\n",
    b"\r\n",
    b"1\na\n0\n\n", b"0x1\r\na\r\n0\r\n\r\n",
)  # fmt: skip

PICTURES = tuple(
    data
    for data in (*good_images().values(), *bad_images().values(), scan_bomb(70))
    if len(data) < 30_000
)
PICTURES_B64 = tuple(b64(data).encode() for data in PICTURES)


def mutated_json(rng: random.Random, tokens: Sequence[bytes]) -> bytes:
    """JSON with something else in a few places; two of three times it still is JSON."""
    parts = list(tokens)
    changes = ANY_CHANGES if rng.random() < 0.35 else CHANGES
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        if parts:
            rng.choice(changes)(rng, parts, int(rng.random() * len(parts)))
    return rng.choice((b"", b"", b"", b" ", b"\n\t")).join(parts)


def _is_key(parts: list[bytes], place: int) -> bool:
    return parts[place + 1 : place + 2] == [b":"]


def _put_value(rng: random.Random, parts: list[bytes], place: int) -> None:
    """In the place of the next value that is no list and no object."""
    for at in (*range(place, len(parts)), *range(place)):
        if parts[at] not in PUNCTUATION and not _is_key(parts, at):
            parts[at] = rng.choice(VALUES)
            return


def _put_whole(rng: random.Random, parts: list[bytes], place: int) -> None:
    """In the place of the next list or object."""
    for at in range(place, len(parts)):
        if parts[at] in (b"[", b"{"):
            depth = 1
            end = at + 1
            while depth and end < len(parts):
                depth += (parts[end] in (b"[", b"{")) - (parts[end] in (b"]", b"}"))
                end += 1
            parts[at:end] = [rng.choice(VALUES)]
            return


def _rename(rng: random.Random, parts: list[bytes], place: int) -> None:
    for at in range(place, len(parts) - 1):
        if _is_key(parts, at):
            parts[at] = rng.choice(NAMES)
            return


def _wrap_value(rng: random.Random, parts: list[bytes], place: int) -> None:
    if parts[place] not in PUNCTUATION and not _is_key(parts, place):
        before, after = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"[1,", b"]")))
        parts[place] = before + parts[place] + after


def _add_field(rng: random.Random, parts: list[bytes], place: int) -> None:
    for at in (*range(place, len(parts)), *range(place)):
        if parts[at] == b"{":
            parts[at + 1 : at + 1] = [rng.choice(NAMES), b":", rng.choice(VALUES), b","]
            return


def _replace(rng: random.Random, parts: list[bytes], place: int) -> None:
    parts[place] = rng.choice(rng.choice((VALUES, JUNK, NAMES)))


def _remove(rng: random.Random, parts: list[bytes], place: int) -> None:
    del parts[place : place + rng.choice((1, 1, 2, 4))]


def _insert(rng: random.Random, parts: list[bytes], place: int) -> None:
    parts.insert(place, rng.choice(rng.choice((VALUES, JUNK, NAMES))))


def _copy(rng: random.Random, parts: list[bytes], place: int) -> None:
    end = place + rng.choice((1, 2, 3, 8))
    to = int(rng.random() * (len(parts) + 1))
    parts[to:to] = parts[place:end]


PUNCTUATION = frozenset((b"[", b"]", b"{", b"}", b":", b","))
Change = Callable[[random.Random, list[bytes], int], None]
CHANGES: tuple[Change, ...] = (
    _put_value, _put_value, _put_value, _put_whole, _rename, _wrap_value, _add_field,
)  # fmt: skip
ANY_CHANGES: tuple[Change, ...] = (_replace, _replace, _remove, _insert, _copy)


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """Bytes with a few of them changed, added or left out."""
    kind = rng.random()
    if not data or kind < 0.1:
        return data + rng.randbytes(rng.choice((1, 2, 9, 100)))
    place = int(rng.random() ** 2 * len(data))  # heads are read first
    if kind < 0.3:
        return data[:place]
    if kind < 0.5:
        return data[:place] + data[place + rng.choice((1, 2, 4, 16)) :]
    if kind < 0.6:
        return data[:place] + rng.randbytes(rng.choice((1, 2, 4))) + data[place:]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[int(rng.random() ** 2 * len(data))] ^= 1 << int(rng.random() * 8)
    return bytes(changed)
