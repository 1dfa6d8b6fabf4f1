"""What a submission asks for: its model, its items, and what tells it from others. Nothing waits.

An item is the body of a predict request. JSON that was cut out of a larger body is written anew; a
line, or a body that is an item itself, stays as it is.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import orjson

from inferctl.jobs.job import NewJob, new_job_id
from inferctl.refusals import RequestError, TooLarge, Unprocessable
from inferctl.server.call import Fields, Headers
from inferctl.tasks.base import JSON, Body, Task
from inferctl.tasks.bounds import FEW_BYTES

LINES = "application/x-ndjson"
NEWLINE = b"\n"
# One that is not blank, or what is between two of them: a part of it, so that other threads have
# their turn.
LINE = re.compile(rb"(\S[^\n]*+)|\s{1,65536}+")

IDEMPOTENCY_KEY = b"idempotency-key"
MAX_KEY_CHARS = 255
VISIBLE = re.compile(rb"[\x21-\x7e]{1,%d}" % MAX_KEY_CHARS)
# A string of a structured field (RFC 8941), in which quotes and backslashes follow a backslash.
QUOTED = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
# One in a list of whatever else; without its end it goes on to the end of all, so that no byte is
# looked at twice.
STRING = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)

PREFER = b"prefer"
RESPOND_ASYNC = b"respond-async"

CHOICE = ("model", "version")
FIELDS = (*CHOICE, "item", "items")
# Of a body that is parsed as a whole: a number takes 32 bytes then, and in one go; an object, with
# what is written for it, 500.
MAX_VALUES = 500_000
MAX_PARTS = 100_000
COUNTED = {b",": "values", b":": "names", b"{": "objects", b"[": "lists"}
# All up to one of what separates or begins values, outside of strings. In JSON there are no more
# pieces before the next.
UP_TO_NEXT = re.compile(rb'(?:[^",:{\[]++|"(?:[^"\\]++|\\.)*+"?){0,8}+([,:{\[]?)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Asked:
    """Items for a model. `model` and `version` are "" for the default.

    `content_type` is that of each item, `options` are theirs where it is not JSON. `is_bulk` is
    whether there could have been several.
    """

    model: str
    version: str
    content_type: str
    items: Sequence[bytes] = ()
    options: Mapping[str, str] = field(default_factory=dict)
    is_bulk: bool = False

    def new_job(self, key: str, idempotency_key: str) -> NewJob:
        """A job of its own; `key` is the name of the API key that it came with."""
        return NewJob(
            id=new_job_id(),
            model=self.model,
            version=self.version,
            key=key,
            content_type=self.content_type,
            items=self.items,
            query=urlencode(self.options),
            is_bulk=self.is_bulk,
            idempotency_key=idempotency_key,
            fingerprint=self.fingerprint() if idempotency_key else b"",
        )

    def fingerprint(self) -> bytes:
        """The same for the same request, and for no other: 32 bytes."""
        said = [self.model, self.version, self.content_type, [*self.options.items()], self.is_bulk]
        digest = sha256(orjson.dumps([*said, len(self.items)]))
        digest.update(array("Q", map(len, self.items)))
        for item in self.items:
            digest.update(item)
        return digest.digest()


# What the head says.


def idempotency_key_of(fields: Fields) -> str:
    """As it is or in a structured field's quotes, the same key; "" without. Raises RequestError."""
    given = fields.get(IDEMPOTENCY_KEY)
    if given is None:
        return ""
    quoted = QUOTED.fullmatch(given)
    key = re.sub(rb"\\(.)", rb"\1", quoted[1]) if quoted else given
    if not VISIBLE.fullmatch(key) or (not quoted and key.startswith(b'"')):
        raise RequestError(f"idempotency-key is not 1 to {MAX_KEY_CHARS} visible characters")
    return key.decode("ascii")


def refuse_several_keys(headers: Headers) -> None:
    """Raises RequestError: nobody could tell which of them counts."""
    if sum(name == IDEMPOTENCY_KEY for name, _ in headers) > 1:
        raise RequestError("there are several idempotency-key headers", hint="send one")


def prefers_async(headers: Headers) -> bool:
    """Whether a request would rather be answered later (RFC 7240)."""
    for name, value in headers:
        if name == PREFER:
            bare = STRING.sub(b"", value).lower()  # what stands in quotes is no preference
            if any(part.partition(b";")[0].strip() == RESPOND_ASYNC for part in bare.split(b",")):
                return True
    return False


def chosen_by(query: Mapping[str, str], content_type: str) -> Asked:
    """What the query says of a body that does not name its model. Raises Unprocessable."""
    options = {name: value for name, value in query.items() if name not in CHOICE}
    if options and content_type in (JSON, LINES):
        raise Unprocessable("options go into each item", hint="the query has model and version")
    return Asked(query.get("model", ""), query.get("version", ""), content_type, options=options)


# What the body says. Each raises RequestError, Unprocessable or TooLarge: of what was sent they
# repeat nothing.


def asked_in_json(body: Body, max_items: int) -> Asked:
    """Read `{"model": …, "version": …, "item": {…}}`, or `"items": [{…}, …]`."""
    _refuse_many(body)
    content = _object(body)
    if content.keys() - set(FIELDS):
        raise Unprocessable(f"unknown field; allowed: {', '.join(FIELDS)}")
    if ("item" in content) == ("items" in content):
        raise Unprocessable("give either item or items")
    is_bulk = "items" in content
    items = content["items"] if is_bulk else [content["item"]]
    if not isinstance(items, list):
        raise Unprocessable("items: not a list")
    _check_count(len(items), max_items)
    for place, item in enumerate(items):
        _check_item(item, f"items[{place}]: " if is_bulk else "item: ")
    model, version = (_chosen(content, name) for name in CHOICE)
    # By a loop of Python's: in one of C's no other thread would have its turn.
    written = [orjson.dumps(item) for item in items]
    return Asked(model, version, JSON, written, is_bulk=is_bulk)


def asked_in_lines(body: Body, asked: Asked, task: Task, max_items: int) -> Asked:
    """Read a predict request's JSON from each line that is not blank."""
    items: list[bytes] = []
    for line in LINE.finditer(body):
        if line[1] is None:
            continue
        item = line[1].rstrip()
        if len(items) == max_items:
            raise _too_many(max_items)
        _check_line(item, task, body, line.start())
        items.append(item)
    _check_count(len(items), max_items)
    return replace(asked, content_type=JSON, items=items, is_bulk=True)


def asked_in_one(body: Body, asked: Asked, task: Task) -> Asked:
    """Take a body that is a predict request's own; it may have items, as there.

    JSON that takes long to read is not read before it is predicted.
    """
    if asked.content_type == JSON:
        if len(body) > FEW_BYTES:
            task.guard(body)
        else:
            _object(body)
    else:
        task.read_raw(body, asked.options)
    return replace(asked, items=[bytes(body)])


def _check_line(line: bytes, task: Task, body: Body, start: int) -> None:
    try:
        _check_item(_parsed(line, task), "")
    except RequestError as error:
        error.what = f"line {body.count(NEWLINE, 0, start) + 1}: {error.what}"
        raise


def _parsed(body: Body, task: Task) -> dict[str, Any]:
    """As large as a predict request's JSON may be."""
    if len(body) > FEW_BYTES:
        task.guard(body)
    return _object(body)


def _object(body: Body) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise RequestError("this is not valid JSON", hint="send a JSON object") from None
    if not isinstance(content, dict):
        raise RequestError("this is not a JSON object")
    return content


def _check_item(item: Any, place: str) -> None:
    if not isinstance(item, dict):
        raise Unprocessable(f"{place}not a JSON object")
    if "items" in item:
        raise Unprocessable(f"{place}it has items itself", hint="send each of them as one")


def _chosen(content: Mapping[str, Any], name: str) -> str:
    given = content.get(name, "")
    if name == "version" and given is None:
        return ""
    if name == "version" and type(given) is int:
        return str(given)
    if not isinstance(given, str):
        raise Unprocessable(f"{name}: should be a string")
    return given


def _check_count(items: int, max_items: int) -> None:
    if not items:
        raise Unprocessable("there is no item", hint="send at least one")
    if items > max_items:
        raise _too_many(max_items)


def _too_many(max_items: int) -> TooLarge:
    return TooLarge(f"more than {max_items} items", hint="send them in parts")


def _refuse_many(body: Body) -> None:
    """Raises TooLarge for more than memory is for, outside of texts: they have what they want."""
    most = {b",": MAX_VALUES, b":": MAX_PARTS, b"{": MAX_PARTS, b"[": MAX_PARTS}
    if all(body.count(mark) <= limit for mark, limit in most.items()):
        return
    place, left = 0, dict(most)
    while place < len(body):
        found = UP_TO_NEXT.match(body, place)
        if found is None or not (mark := found[1]):
            return  # it is at its end, or is no JSON, and will not be parsed for long
        left[mark] -= 1
        if left[mark] < 0:
            what = f"more than {most[mark]} {COUNTED[mark]}"
            raise TooLarge(f"the JSON has {what}", hint=f"send lines, as {LINES}")
        place = found.end()
