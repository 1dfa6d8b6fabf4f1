"""What ends a command is like Ctrl-C, but for what it was told not to mind."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from inferctl.cli.ending import end_as_by_ctrl_c

ENDING = (signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """They are the process's, and so this test's alone."""
    before = [signal.getsignal(number) for number in ENDING]
    yield
    for number, handler in zip(ENDING, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_it_ends_as_by_ctrl_c(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_DFL)
    end_as_by_ctrl_c()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


@pytest.mark.parametrize("number", ENDING)
def test_what_is_ignored_stays_so(number: signal.Signals) -> None:
    signal.signal(number, signal.SIG_IGN)
    end_as_by_ctrl_c()
    signal.raise_signal(number)
    assert signal.getsignal(number) is signal.SIG_IGN
