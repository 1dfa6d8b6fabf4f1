"""What other people's code raises, and how its texts are quoted in one clean line."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile

from safetensors import SafetensorError

# Loaders, factories, modules and the exporter run code that is not ours and may raise nearly
# anything. These are the base classes of what they do raise; interrupts and exits pass through.
FOREIGN_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SafetensorError,
    SyntaxError,
    TypeError,
    ValueError,
    pickle.PickleError,
    struct.error,
    zipfile.BadZipFile,
)

_MAX_CHARS = 300
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_EXCEPTION_SUMMARY = "## Exception summary"
_CLASS_PREFIX = re.compile(r"^<class '[^']+'>: ")


def clean(text: str) -> str:
    """Put `text` on one line: no ANSI codes, no control characters, at most 300 characters."""
    flat = " ".join(_UNPRINTABLE.sub(" ", _ANSI.sub("", text)).split())
    return flat if len(flat) <= _MAX_CHARS else flat[: _MAX_CHARS - 1] + "…"


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text, or the name of its class when it has none.

    The exporter's errors end in advice; what happened is the first line of their summary.
    """
    text = _ANSI.sub("", str(error))
    if _EXCEPTION_SUMMARY in text:
        summary = text.split(_EXCEPTION_SUMMARY, 1)[1].strip().splitlines()
        text = _CLASS_PREFIX.sub("", summary[0]) if summary else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return clean(lines[-1]).rstrip(".") if lines else type(error).__name__
