"""The results: a JSON line for each input, to standard output or to a file, whole or not there."""

from __future__ import annotations

import os
import sys
from errno import EISDIR
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import orjson

from inferctl.client import ClientError, Outcome
from inferctl.errors import OutputError

PARTIAL = ".partial"


def line_of(name: str, outcome: Outcome) -> bytes:
    """`{"input": …}` with the prediction's fields, or with its `error`."""
    if isinstance(outcome, ClientError):
        fields = ("status", "code", "detail", "hint", "request_id")
        error = {field: _written(getattr(outcome, field)) for field in fields}
        content: dict[str, Any] = {"error": _given(error)}
    else:
        content = _given(orjson.loads(orjson.dumps(outcome)))
    return orjson.dumps({"input": _written(name), **content}, option=orjson.OPT_APPEND_NEWLINE)


class Results:
    """Where the lines go. A file has `.partial` in its name until the last line is written."""

    def __init__(self, path: Path | None) -> None:
        """None is standard output. Raises OutputError."""
        self._path = path
        self.partial = None if path is None else path.with_name(path.name + PARTIAL)
        self._stream: BinaryIO = sys.stdout.buffer
        if path is None or self.partial is None:
            return
        try:
            if path.is_dir():
                raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
            self._stream = self.partial.open("wb")
        except OSError as error:
            raise self._failed(error) from None

    def write(self, line: bytes) -> None:
        """One more line. Raises OutputError."""
        try:
            self._stream.write(line)
            if self._path is None:
                self._stream.flush()
        except OSError as error:
            if self._path is None:
                # Or the end of the process would try to write the rest once more, and complain.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            raise self._failed(error) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Give the file its name if all went well. Raises OutputError."""
        if self.partial is None or self._path is None:
            return
        try:
            self._stream.close()
            if kind is None:
                self.partial.replace(self._path)
        except OSError as failure:
            raise self._failed(failure) from None

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot write the results: {error.strerror}",
            where=str(self._path or "standard output"),
            hint="choose another file" if self._path else "",
        )


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Without what is not known: a bundle has no request id, an unsent request no status."""
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _written(value: Any) -> Any:
    """A text as JSON can have it: a file's name may have bytes that are not UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
