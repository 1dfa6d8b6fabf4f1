"""Asks a service what a grammar makes, looks at every answer, and makes a failure small."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import orjson

from tests.faults.grammar import Fuzzed, Grammar, Surface, surface_of
from tests.faults.kept import (
    Address,
    Hang,
    Kept,
    NoAnswer,
    Reply,
    first_reply,
    length_of,
    without_interim,
)

MAX_ERROR_BYTES = 512
PROBLEM, JSON = b"application/problem+json", b"application/json"
PROBLEM_FIELDS = frozenset(("type", "title", "status", "code", "detail", "request_id", "hint"))
# What an answer to a client may not tell of us.
LEAKS = (b"0x", b"Traceback", b"/tmp", b"/usr", b"/home", b"object at", b"site-packages", b".py")
# Loading at run time is off; and so is any coding of a body but in chunks.
NOT_BUILT = b"/v2/repository"
# So many requests are one client's.
PART = 5_000
SMALLER_TRIES = 400
SMALLER_S = 20.0


@dataclass
class Failure:
    """An answer that is none: why, and to what."""

    number: int
    why: str
    request: bytes

    def __str__(self) -> str:
        return f"request {self.number}: {self.why}: {self.request[:600]!r}"


@dataclass
class Report:
    """What came of a number of requests; of failures of one kind, the first."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.requests += other.requests
        self.statuses += other.statuses
        self.failures += [one for one in other.failures if one.why not in self.kinds]
        self.kinds += other.kinds


def complaint(request: bytes, reply: Reply) -> str:
    """What is wrong with an answer; nothing, if it is as it must be."""
    status, head, body = reply
    kind = reply.field(b"content-type")
    if status < 400:
        if kind == JSON and b"\r\ninference-header-content-length" not in head:
            return "" if _is_json(body) or not body else f"{status}, and not JSON"
        return ""
    if status >= 500 and not _may_fail(request, status, body):
        return str(status)
    if status in (429, 503) and b"\r\nretry-after: " not in head:
        return f"{status} without Retry-After"
    if request.startswith(b"HEAD"):
        return ""
    if len(body) > MAX_ERROR_BYTES:
        return f"{status} of {len(body)} bytes"
    return _form(reply, kind)


def _may_fail(request: bytes, status: int, body: bytes) -> bool:
    """Whether an answer of 500 and more is the right one."""
    if status == 501:
        return NOT_BUILT in request or b"ransfer-" in request
    # The largest numbers may become none in the model; the protocols' word for it is 500.
    return status == 504 or (status == 500 and b"not finite" in body)


def _form(reply: Reply, kind: bytes) -> str:
    status, _, body = reply
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return f"{status} is not JSON"
    if kind == PROBLEM:
        if not content.keys() <= PROBLEM_FIELDS or content["status"] != status:
            return f"{status} is no problem of ours"
    elif kind != JSON or content.keys() != {"error"} or not isinstance(content["error"], str):
        return f"{status} is neither a problem nor an error"
    leaks = [leak.decode() for leak in LEAKS if leak in body]
    return f"{status} tells {leaks[0]}" if leaks else ""


def _is_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


class Fuzzer:
    """One client."""

    def __init__(self, address: Address, surface: Surface, seed: int) -> None:
        self._client = Kept(address)
        self._grammar = Grammar(surface, address, seed)

    def run(self, numbers: range) -> Report:
        """Ask all of them, one after the other."""
        report = Report(len(numbers))
        for number in numbers:
            fuzzed = self._grammar.request(number)
            why = self.ask(fuzzed, report.statuses)
            if why and why not in report.kinds:
                report.failures.append(self._smaller(fuzzed, why))
            if why:
                report.kinds[why] += 1
        self._client.close()
        return report

    def ask(self, fuzzed: Fuzzed, statuses: Counter[int]) -> str:
        """Ask one; what is wrong with its answer."""
        if not fuzzed.is_framed:
            return self._ask_alone(fuzzed.data, statuses)
        try:
            reply = self._client.ask(fuzzed.data, to_head=fuzzed.to_head)
        except Hang:
            return "hang"
        except NoAnswer:
            return "no answer"
        statuses[reply.status] += 1
        if fuzzed.identity and _other(reply, fuzzed.identity):
            return "the answer to another request"
        return complaint(fuzzed.data, reply)

    def _ask_alone(self, data: bytes, statuses: Counter[int]) -> str:
        try:
            came = self._client.ask_to_the_end(data)
        except Hang:
            return "hang"
        except NoAnswer:
            return "refused"
        reply = first_reply(came)
        if reply is None:
            statuses[0] += 1
            return "half an answer" if without_interim(came) else ""
        statuses[reply.status] += 1
        if len(reply.body) < length_of(reply.head) and not data.startswith(b"HEAD"):
            return "half an answer"
        return complaint(data, reply)

    def _smaller(self, fuzzed: Fuzzed, why: str) -> Failure:
        """The failure alone on a connection, with as little as still shows it."""
        nobody: Counter[int] = Counter()

        def shows_it(data: bytes) -> bool:
            if fuzzed.is_framed:
                one = fuzzed._replace(data=data, identity=b"")
                return self.ask(one, nobody) == why
            return self._ask_alone(data, nobody) == why

        if why == "hang" or not shows_it(fuzzed.data):
            return Failure(fuzzed.number, why, fuzzed.data)
        return Failure(fuzzed.number, why, smallest(fuzzed.data, shows_it))


def _other(reply: Reply, identity: bytes) -> bool:
    """Whether an answer is of another request; one that is not read to its end gets an id of ours,
    and no request can follow it."""
    return reply.field(b"x-request-id") != identity and b"\r\nconnection: close" not in reply.head


def smallest(request: bytes, shows_it: Callable[[bytes], bool]) -> bytes:
    """A request without what it does not need to show the same."""
    give_up_s = time.monotonic() + SMALLER_S
    tries = 0
    size = max(len(request) // 2, 1)
    while size:
        for smaller in _without(request, size):
            tries += 1
            if tries > SMALLER_TRIES or time.monotonic() > give_up_s:
                return request
            if shows_it(smaller):
                request = smaller
                break
        else:
            size //= 2
    return request


def _without(request: bytes, size: int) -> Iterator[bytes]:
    """The request without `size` bytes at a place, with a length that is right if it was."""
    head, end, body = request.partition(b"\r\n\r\n")
    announced = b"Content-Length: %d" % len(body)
    for start in range(0, len(body), size):
        less = body[:start] + body[start + size :]
        yield head.replace(announced, b"Content-Length: %d" % len(less)) + end + less
    lines = head.split(b"\r\n")
    if size <= 64:
        for place in range(1, len(lines)):
            yield b"\r\n".join(lines[:place] + lines[place + 1 :]) + end + body
    if size <= 16:
        for start in range(0, len(head), size):
            yield head[:start] + head[start + size :] + end + body


def _part(address: Address, surface: Surface, seed: int, numbers: range) -> Report:
    return Fuzzer(address, surface, seed).run(numbers)


def fuzz(
    address: Address, seed: int, requests: int, clients: int, say: Callable[[str], None]
) -> Report:
    """Ask so many, in several processes; number n of a seed is the same however many there are."""
    surface = surface_of(address)
    whole = Report()
    begun_s = time.monotonic()
    size = min(PART, -(-requests // clients))
    parts = [range(first, min(first + size, requests)) for first in range(0, requests, size)]
    with ProcessPoolExecutor(clients, get_context("spawn")) as pool:
        asked = [pool.submit(_part, address, surface, seed, numbers) for numbers in parts]
        for number, part in enumerate(as_completed(asked), 1):
            whole.add(part.result())
            if not number % 10:
                rate = whole.requests / (time.monotonic() - begun_s)
                say(f"fuzz: {whole.requests:,} of {requests:,}, {rate:,.0f} a second")
    return whole


def write_failures(report: Report, seed: int, folder: Path) -> str:
    """Each failure as a file of its bytes, and a line."""
    folder.mkdir(exist_ok=True)
    lines = []
    for failure in report.failures:
        file = folder / f"fuzz-{seed}-{failure.number}.bin"
        file.write_bytes(failure.request)
        lines.append(f"{report.kinds[failure.why]} times, seed {seed}, {failure} ({file})")
    return "\n".join(lines)
