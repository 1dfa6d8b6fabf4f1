"""What a message may be: how long its lines, how many its headers, how large all of it."""

from __future__ import annotations

from httptools import parse_url

from inferctl.refusals import HeadersTooLarge, RequestError, TooLarge, Unsupported, UriTooLong
from inferctl.server.call import SWALLOWED_BYTES, Headers
from inferctl.settings import ServerSettings

# Beside the method and the target: two spaces and the version.
LINE_REST_BYTES = len("  HTTP/1.1")
# Beside its name and its value: colon, space, end of line.
HEADER_REST_BYTES = len(": \r\n")


def max_wire_bytes(limits: ServerSettings) -> int:
    """What a body may take on the wire, though it is only read to be thrown away."""
    return max(limits.max_body_bytes, SWALLOWED_BYTES) + limits.max_framing_bytes


class Message:
    """What has come of the message that a connection receives, in whatever pieces it was cut.

    The parser says what is complete, and that is measured exactly. What is not complete it keeps
    without a word, so all that it is fed is counted besides.
    """

    __slots__ = ("_header_bytes", "_headers", "_is_first", "_limits", "fed_bytes")

    def __init__(self, limits: ServerSettings) -> None:
        self._limits = limits
        self.begin()

    def begin(self) -> None:
        """Another one begins."""
        self._headers = self._header_bytes = 0
        self._begin_part()

    def _begin_part(self) -> None:
        # In the packet in which a part begins, the head or the body, are others' bytes too.
        self._is_first = True
        self.fed_bytes = 0

    def feed(self, size: int, *, is_head: bool) -> None:
        """The parser was fed a packet, and is in the middle of the head or of the body.

        Raises HeadersTooLarge or TooLarge.
        """
        if self._is_first:
            self._is_first = False
            return
        self.fed_bytes += size
        limits = self._limits
        if not is_head:
            if self.fed_bytes > max_wire_bytes(limits):
                raise TooLarge("the body takes too much on the wire", hint="send a smaller one")
        elif self.fed_bytes > limits.max_request_line_bytes + limits.max_head_bytes:
            raise HeadersTooLarge("the headers are too large", hint="send fewer or shorter ones")

    def check_url(self, method: bytes, url: bytes) -> None:
        """So much of its target is here. Raises UriTooLong."""
        if len(method) + len(url) + LINE_REST_BYTES > self._limits.max_request_line_bytes:
            raise UriTooLong("the request line is too long")

    def check_header(self, name: bytes, value: bytes) -> None:
        """Another header is complete. Raises HeadersTooLarge."""
        size = len(name) + len(value) + HEADER_REST_BYTES
        self._headers += 1
        self._header_bytes += size
        limits = self._limits
        if (
            size > limits.max_header_bytes
            or self._headers > limits.max_headers
            or self._header_bytes > limits.max_head_bytes
        ):
            raise HeadersTooLarge("the headers are too large", hint="send fewer or shorter ones")

    def end_head(self, method: bytes, version: str, url: bytes, headers: Headers) -> None:
        """All headers are here, by lower-case name: they must say where the message ends, and to
        whom it goes, without a doubt. Raises RequestError."""
        self._begin_part()
        names = [name for name, _ in headers]
        hosts = names.count(b"host")
        if version not in ("1.0", "1.1"):
            raise RequestError("this is neither HTTP/1.1 nor HTTP/1.0")
        if hosts > 1 or (version == "1.1" and not hosts):
            raise RequestError("a request needs one Host header")
        if method == b"CONNECT" or (url[:1] != b"/" and url != b"*" and not parse_url(url).path):
            raise RequestError("the request's target is no path")
        if b"transfer-encoding" in names:
            if version == "1.0":
                raise RequestError("HTTP/1.0 has no Transfer-Encoding")
            if dict(headers)[b"transfer-encoding"].strip().lower() != b"chunked":
                raise Unsupported("of transfer encodings only chunked is taken")
