"""What a message may be, to the byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inferctl.refusals import HeadersTooLarge, RequestError, TooLarge, Unsupported, UriTooLong
from inferctl.server.call import SWALLOWED_BYTES, Headers
from inferctl.server.message import Message
from inferctl.settings import ServerSettings

LIMITS = ServerSettings(
    max_request_line_bytes=256, max_header_bytes=300, max_head_bytes=1000, max_headers=20,
    max_body_bytes=1024, max_framing_bytes=2048,
)  # fmt: skip
HOST = (b"host", b"here")
WIRE_BYTES = SWALLOWED_BYTES + 2048


def message() -> Message:
    return Message(LIMITS)


def header_of(size: int) -> tuple[bytes, bytes]:
    """As many bytes as this on the wire, with its colon, space and end of line."""
    return b"name", b"x" * (size - len("name: \r\n"))


def refused(check: Callable[[], None], error: type[RequestError]) -> bool:
    with pytest.raises(error):
        check()
    return True


@pytest.mark.parametrize("method", [b"GET", b"OPTIONS"])
def test_a_request_line_may_be_as_long_as_the_limit(method: bytes) -> None:
    url = b"/" * (256 - len(method + b"  HTTP/1.1"))
    message().check_url(method, url)
    assert refused(lambda: message().check_url(method, url + b"/"), UriTooLong)


def test_a_header_may_be_as_long_as_the_limit() -> None:
    message().check_header(*header_of(300))
    assert refused(lambda: message().check_header(*header_of(301)), HeadersTooLarge)


@pytest.mark.parametrize("last", [100, 101])
def test_all_headers_may_be_as_long_as_the_limit(last: int) -> None:
    long = message()
    for _ in range(3):
        long.check_header(*header_of(300))
    if last == 100:
        long.check_header(*header_of(last))
    else:
        assert refused(lambda: long.check_header(*header_of(last)), HeadersTooLarge)


def test_there_may_be_as_many_headers_as_the_limit() -> None:
    many = message()
    for _ in range(20):
        many.check_header(b"a", b"b")
    assert refused(lambda: many.check_header(b"a", b"b"), HeadersTooLarge)


def test_the_next_message_is_measured_for_itself() -> None:
    one = message()
    for _ in range(3):
        one.check_header(*header_of(300))
    one.begin()
    one.check_header(*header_of(300))


def test_a_head_that_never_becomes_complete_ends_at_the_limit() -> None:
    one = message()
    one.feed(5000, is_head=True)  # the end of another one's body came with it
    one.feed(1256, is_head=True)
    assert refused(lambda: one.feed(1, is_head=True), HeadersTooLarge)


def test_a_body_may_take_so_much_on_the_wire() -> None:
    one = message()
    one.feed(100, is_head=True)
    one.end_head(b"POST", "1.1", b"/", [HOST])
    one.feed(100, is_head=False)  # the head's end came with it
    for _ in range(WIRE_BYTES // 1024):
        one.feed(1024, is_head=False)
    assert one.fed_bytes == WIRE_BYTES
    assert refused(lambda: one.feed(1, is_head=False), TooLarge)


HEADS: dict[str, tuple[bytes, str, bytes, Headers, type[RequestError] | None]] = {
    "usual": (b"GET", "1.1", b"/x", [HOST], None),
    "absolute": (b"GET", "1.1", b"http://here/x", [HOST], None),
    "of all": (b"OPTIONS", "1.1", b"*", [HOST], None),
    "old": (b"GET", "1.0", b"/", [], None),
    "older": (b"GET", "0.9", b"/", [], RequestError),
    "newer": (b"GET", "2.0", b"/", [HOST], RequestError),
    "to nobody": (b"GET", "1.1", b"/", [], RequestError),
    "to two": (b"GET", "1.1", b"/", [HOST, HOST], RequestError),
    "old to two": (b"GET", "1.0", b"/", [HOST, HOST], RequestError),
    "tunnel": (b"CONNECT", "1.1", b"here:80", [HOST], RequestError),
    "no path": (b"GET", "1.1", b"http://here", [HOST], RequestError),
    "chunked": (b"POST", "1.1", b"/", [HOST, (b"transfer-encoding", b"Chunked ")], None),
    "zipped": (
        b"POST", "1.1", b"/", [HOST, (b"transfer-encoding", b"gzip, chunked")], Unsupported,
    ),
    "old chunked": (
        b"POST", "1.0", b"/", [HOST, (b"transfer-encoding", b"chunked")], RequestError,
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "version", "url", "headers", "error"), HEADS.values(), ids=HEADS
)
def test_a_head_must_be_without_doubt(
    method: bytes, version: str, url: bytes, headers: Headers, error: type[RequestError] | None
) -> None:
    if error is None:
        message().end_head(method, version, url, headers)
    else:
        assert refused(lambda: message().end_head(method, version, url, headers), error)
