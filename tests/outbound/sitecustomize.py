"""Lets no process of the tests connect to anything but this machine, and notes who tries.

`tests/conftest.py` puts this folder on the path of every child, where Python imports it by its name
before anything else.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from typing import Any

# The file in which attempts are noted.
VARIABLE = "TESTS_OUTBOUND"


def guard() -> None:
    """Have sockets raise PermissionError instead of a connection that leaves the machine.

    No audit hook: while one runs for `sys.settrace`, CPython 3.11 refuses it to other threads, and
    under coverage they die.
    """
    connect = socket.socket.connect

    def stay(self: socket.socket, address: Any, /) -> None:
        if not is_here(address):
            with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:  # noqa: PTH123 - before pathlib
                file.write(f"{address!r} by {' '.join(sys.argv)}\n")
            raise PermissionError(f"tests stay on this machine: {address!r}")
        connect(self, address)

    socket.socket.connect = stay  # type: ignore[method-assign]


def is_here(address: object) -> bool:
    """Whether it is a socket of the file system, or one of this machine's own addresses."""
    if not isinstance(address, tuple):
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] == "localhost"


if VARIABLE in os.environ:
    guard()
