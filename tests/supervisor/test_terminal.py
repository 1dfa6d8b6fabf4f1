"""A terminal that was closed is told from one that is there, and from none."""

from __future__ import annotations

import os
import pty

from inferctl.supervisor.terminal import is_hung_up


def test_only_a_terminal_that_was_closed_is_hung_up() -> None:
    master, terminal = pty.openpty()
    ours, theirs = os.pipe()
    assert not is_hung_up([terminal, ours])
    os.close(master)
    assert is_hung_up([ours, terminal])
    for number in (terminal, ours, theirs):
        os.close(number)
    assert not is_hung_up([terminal]), "it is closed, and no terminal"
