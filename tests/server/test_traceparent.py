"""Which trace a request is part of."""

from __future__ import annotations

import pytest

from inferctl.server.traceparent import Trace, trace_of

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (b"00-%b-%b-01" % (TRACE, PARENT), True),
        (b"00-%b-%b-00" % (TRACE, PARENT), False),
        (b"00-%b-%b-03" % (TRACE, PARENT), True),
        (b"cc-%b-%b-01-what the future brings" % (TRACE, PARENT), True),
    ],
)
def test_a_traceparent_names_trace_and_parent(header: bytes, sampled: bool) -> None:
    assert trace_of(header) == Trace(TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"00-%b-%b" % (TRACE, PARENT),
        b"ff-%b-%b-01" % (TRACE, PARENT),
        b"00-%b-%b-01-more" % (TRACE, PARENT),
        b"00-%b-%b-01" % (b"0" * 32, PARENT),
        b"00-%b-%b-01" % (TRACE, b"0" * 16),
        b"00-%b-%b-01" % (TRACE.upper(), PARENT),
        b"00-%b-%b-01" % (TRACE[1:], PARENT),
        b"00-%b-%b-01\n" % (TRACE, PARENT),
    ],
)
def test_one_that_the_standard_does_not_know_is_ignored(header: bytes) -> None:
    assert trace_of(header) is None
