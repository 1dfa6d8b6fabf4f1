"""Lets no process of the tests connect to anything but this machine, and notes who tries.

`tests/conftest.py` puts this folder on the path of every child, where Python imports it by its name
before anything else.
"""

from __future__ import annotations

import ipaddress
import os
import sys

# The file in which attempts are noted.
VARIABLE = "TESTS_OUTBOUND"


def stay(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook. Raises PermissionError instead of a connection that leaves the machine."""
    if event == "socket.connect" and not is_here(arguments[1]):
        with open(os.environ[VARIABLE], "a", encoding="utf-8") as file:  # noqa: PTH123 - before pathlib
            file.write(f"{arguments[1]!r} by {' '.join(sys.argv)}\n")
        raise PermissionError(f"tests stay on this machine: {arguments[1]!r}")


def is_here(address: object) -> bool:
    """Whether it is a socket of the file system, or one of this machine's own addresses."""
    if not isinstance(address, tuple):
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return address[0] == "localhost"


if VARIABLE in os.environ:
    sys.addaudithook(stay)
