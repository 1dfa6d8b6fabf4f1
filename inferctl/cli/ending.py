"""How a command ends early: as by Ctrl-C, whoever ends it."""

from __future__ import annotations

import signal


def end_as_by_ctrl_c() -> None:
    """Let what is done be kept also when it is terminated, and when the terminal goes away.

    Not where somebody has seen to it that this does not matter, as `nohup` does.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
