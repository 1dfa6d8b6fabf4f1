"""The requests that are sent in turn: bodies from files, heads as the server wants them."""

from __future__ import annotations

from pathlib import Path

JSON = b"Content-Type: application/json\r\n"


def read_bodies(bodies: Path) -> list[tuple[bytes, bytes]]:
    """Headers and body of each: of a file with a JSON body per line, or of a folder of `*.http`, in
    which header lines, an empty line and a body are. Raises OSError, and ValueError without any.
    """
    if bodies.is_dir():
        parts = [_split(file.read_bytes()) for file in sorted(bodies.glob("*.http"))]
    else:
        parts = [(JSON, body) for body in bodies.read_bytes().splitlines() if body]
    if not parts:
        raise ValueError(f"no body in {bodies}")
    return parts


def whole(
    parts: list[tuple[bytes, bytes]], path: str, host: str, api_key: str | None
) -> list[bytes]:
    """The requests as they go out."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n"
    if api_key:
        head += f"Authorization: Bearer {api_key}\r\n"
    first = head.encode("latin-1")
    return [
        b"%b%bContent-Length: %d\r\n\r\n%b" % (first, headers, len(body), body)
        for headers, body in parts
    ]


def _split(message: bytes) -> tuple[bytes, bytes]:
    headers, _, body = message.partition(b"\r\n\r\n")
    return headers + b"\r\n", body
