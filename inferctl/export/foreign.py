"""What other people's code raises, and how its texts are quoted in one clean line."""

from __future__ import annotations

import re

# Loaders, factories, modules and the exporter run code that is not ours, and a person's own error
# may derive from nothing narrower. Handlers of it let InferctlError through first and end in
# `raise`; interrupts and exits are no Exception.
FOREIGN_ERRORS: tuple[type[Exception], ...] = (Exception,)

_MAX_CHARS = 300
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_EXCEPTION_SUMMARY = "## Exception summary"
_SCRIPT_SUMMARY = "failed in the TorchScript interpreter"
_CLASS_PREFIX = re.compile(r"^<class '[^']+'>: ")


def clean(text: str) -> str:
    """Put `text` on one line: no ANSI codes, no control characters, at most 300 characters."""
    flat = " ".join(_UNPRINTABLE.sub(" ", _ANSI.sub("", text)).split())
    return flat if len(flat) <= _MAX_CHARS else flat[: _MAX_CHARS - 1] + "…"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its class when it has none.

    A line that only announces the next one ("Error(s) in loading:") brings it along. The exporter's
    errors begin with advice; what happened is the first line of their summary. TorchScript's begin
    with a traceback; what happened is their last line.
    """
    text = _ANSI.sub("", str(error))
    if _EXCEPTION_SUMMARY in text:
        summary = text.split(_EXCEPTION_SUMMARY, 1)[1].strip().splitlines()
        text = _CLASS_PREFIX.sub("", summary[0]) if summary else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if _SCRIPT_SUMMARY in lines[0]:
        lines = lines[-1:]
    return clean(" ".join(lines[:2]) if lines[0].endswith(":") else lines[0]).rstrip(".")


def type_of(value: object) -> str:
    """Name a value's type in a sentence: "an int", "a dict", "nothing" for None."""
    name = type(value).__name__
    if value is None:
        return "nothing"
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
