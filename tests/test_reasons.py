from __future__ import annotations

import errno

import pytest

from inferctl.errors import InferctlError
from inferctl.reasons import reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InferctlError("no room", hint="make some"), "no room; make some"),
        (OSError(errno.ENOENT, "No such file"), "[Errno 2] No such file"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "insufficient memory: an allocation"),
        (MemoryError(), "insufficient memory: an allocation"),
    ],
)
def test_a_reason_is_a_line_and_that_of_memory_is_always_the_same(
    error: InferctlError | OSError | MemoryError, reason: str
) -> None:
    assert reason_of(error).startswith(reason)
