"""Keys as they are pressed, from a terminal that is left as it was found."""

from __future__ import annotations

import asyncio
import os
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

QUIT = b"qQ"
READ_BYTES = 1024
# Of `tcgetattr`'s answer.
CHARACTERS = 6
OFF = b"\0"


@contextmanager
def quit_key(descriptor: int, on_quit: Callable[[], object]) -> Iterator[None]:
    """Call `on_quit` when q is pressed, or the terminal is gone; where there is none, never.

    Ctrl-C stays a signal. Ctrl-Z does nothing: whoever it stops would leave the terminal like this.
    """
    if not os.isatty(descriptor):
        yield
        return
    loop = asyncio.get_running_loop()

    def on_key() -> None:
        keys = _read(descriptor)
        if not keys or any(key in QUIT for key in keys):
            loop.remove_reader(descriptor)
            on_quit()

    found = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        raw = termios.tcgetattr(descriptor)
        raw[CHARACTERS][termios.VSUSP] = OFF
        termios.tcsetattr(descriptor, termios.TCSANOW, raw)
        loop.add_reader(descriptor, on_key)
        yield
    finally:
        loop.remove_reader(descriptor)
        with suppress(termios.error):  # it is gone
            # What was typed meanwhile was for nobody.
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, found)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError:
        return b""
