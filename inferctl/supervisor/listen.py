"""The listening sockets, bound before anything is loaded."""

from __future__ import annotations

import errno
import socket
import sys

from inferctl.errors import StartError

BACKLOG = 2048

# Elsewhere SO_REUSEPORT does not spread connections, and the workers share one socket.
SPREADS = sys.platform == "linux"


def listen(host: str, port: int, workers: int, *, joins: bool = False) -> list[socket.socket]:
    """One listening socket per worker on the same address, among which the kernel spreads clients.

    Port 0 takes a free one. The sockets outlive a worker, so clients that connect while it is
    replaced wait instead of being refused. With `joins` another service may have the port, and
    nobody is sent here before a worker listens. Raises StartError when the address cannot be had.
    """
    sockets: list[socket.socket] = []
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # The first takes the port for itself, and only then admits the others: with SO_REUSEPORT
        # from the start a second service, one of ours too, would share the port unnoticed.
        sockets.append(_bound(family, address, shares=joins and SPREADS, listens=not joins))
        address = sockets[0].getsockname()
        if SPREADS:
            sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        while len(sockets) < workers:
            sockets.append(
                _bound(family, address, shares=True, listens=not joins)
                if SPREADS
                else sockets[0].dup()
            )
    except (OSError, UnicodeError) as error:
        for sock in sockets:
            sock.close()
        raise StartError(
            f"cannot listen: {_reason(error)}", where=f"{host}:{port}", hint=_hint(error)
        ) from None
    return sockets


def _bound(
    family: int, address: tuple[object, ...], *, shares: bool, listens: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        if listens:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _reason(error: OSError | UnicodeError) -> str:
    strerror = error.strerror if isinstance(error, OSError) else "not a host name"
    return (strerror or str(error)).lower()


def _hint(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "check --host"
    if error.errno == errno.EADDRINUSE:
        return "stop the other process, or choose another --port"
    if error.errno == errno.EACCES:
        return "ports below 1024 need privileges: choose another --port"
    return "check --host and --port"


def url_of(listening: socket.socket, scheme: str) -> str:
    """Where to ask."""
    host, port = listening.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
