"""Bodies of files become whole requests."""

from __future__ import annotations

from pathlib import Path

import pytest
from messages import read_bodies, whole


def test_lines_of_json_and_files_with_headers(tmp_path: Path) -> None:
    """Empty lines are none; a folder's files say what they are themselves."""
    (tmp_path / "lines").write_bytes(b'{"a":1}\n\n{"b":2}\n')
    parts = read_bodies(tmp_path / "lines")
    assert whole(parts, "/p", "h:1", None)[1] == (
        b"POST /p HTTP/1.1\r\nHost: h:1\r\nAccept: application/json\r\n"
        b'Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{"b":2}'
    )
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.http").write_bytes(b"Content-Type: a/b\r\nX: y\r\n\r\n\r\n\r\n\x00")
    (tmp_path / "folder" / "README").write_bytes(b"no body")
    assert whole(read_bodies(tmp_path / "folder"), "/p", "h", "key") == [
        b"POST /p HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\nAuthorization: Bearer key\r\n"
        b"Content-Type: a/b\r\nX: y\r\nContent-Length: 5\r\n\r\n\r\n\r\n\x00"
    ]


def test_no_body_is_an_error(tmp_path: Path) -> None:
    """An empty folder, an empty file."""
    (tmp_path / "empty").touch()
    for nothing in (tmp_path, tmp_path / "empty"):
        with pytest.raises(ValueError, match="no body"):
            read_bodies(nothing)
