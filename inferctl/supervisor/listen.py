"""The listening sockets, bound before anything is loaded."""

from __future__ import annotations

import errno
import socket
import sys

from inferctl.errors import StartError

BACKLOG = 2048


def listen(host: str, port: int, workers: int) -> list[socket.socket]:
    """One listening socket per worker on the same address, among which the kernel spreads clients.

    Port 0 takes a free one. The sockets outlive a worker, so clients that connect while it is
    replaced wait instead of being refused. Raises StartError when the address cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Without SO_REUSEPORT this fails when another service, one of ours too, has the port.
        with _bind(family, address, share=False) as probe:
            address = (address[0], probe.getsockname()[1], *address[2:])
        if sys.platform != "linux":
            # Elsewhere SO_REUSEPORT does not spread connections: the workers share one socket.
            first = _bind(family, address, share=False)
            sockets = [first, *(first.dup() for _ in range(workers - 1))]
        else:
            sockets = [_bind(family, address, share=True) for _ in range(workers)]
        for sock in sockets:
            sock.listen(BACKLOG)
    except OSError as error:
        raise StartError(
            f"cannot listen: {_reason(error)}", where=f"{host}:{port}", hint=_hint(error)
        ) from None
    return sockets


def _bind(family: int, address: tuple[object, ...], *, share: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        if not share:
            # On Linux a bound socket alone does not reveal another listener's SO_REUSEADDR.
            sock.listen(1)
    except OSError:
        sock.close()
        raise
    return sock


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _hint(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "stop the other process, or choose another --port"
    if error.errno == errno.EACCES:
        return "ports below 1024 need privileges: choose another --port"
    return "check --host and --port"
