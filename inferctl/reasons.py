"""Why something of the system cannot be had, in our own words."""

from __future__ import annotations

import errno
import re

from inferctl.errors import InferctlError, InsufficientMemory

# The folders of a path in the brackets that say where, in quotes, and of an absolute one elsewhere;
# and what onnxruntime puts before a message.
_FOLDERS = re.compile(
    r"(?<=\()[^()]*/(?=[^()/]*\))|(?<=')/[^']*/(?=[^'/]*')"
    r"|(?<![\w.:/])/(?:[^\s/:;,()'\"]+/)+(?=[^\s/])"
)
_BRACKETED = re.compile(r"\[\w+\] : \d+ : \w+ : ")


def without_folders(text: str) -> str:
    """A message without what only somebody on the machine needs to see."""
    return _FOLDERS.sub("", _BRACKETED.sub("", text))


def reason_of(error: InferctlError | OSError | MemoryError | RuntimeError) -> str:
    """The error in a line: a lack of memory is told the same wherever it showed.

    A thread that cannot be started is a RuntimeError.
    """
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return str(InsufficientMemory("an allocation failed"))
    return str(error)
