"""The address: whether it is free, and who has it if not."""

from __future__ import annotations

import http.client
import json
import re
import ssl
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from inferctl.doctor.findings import Finding, Subject
from inferctl.errors import StartError
from inferctl.proc import PROC
from inferctl.settings import ServerSettings
from inferctl.supervisor.listen import listen

service = Subject("service")

ASK_TIMEOUT_S = 1.0
MAX_ANSWER_BYTES = 1 << 20
# Of a socket in /proc/net/tcp that listens.
LISTENING = "0A"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def port_findings(server: ServerSettings, proc: Path = PROC) -> Iterator[Finding]:
    """Bind it for a moment, as the service would."""
    try:
        for sock in listen(server.host, server.port, 1, joins=server.share_port):
            sock.close()
    except StartError as error:
        if "in use" not in error.what:
            yield service.error("port", error, "choose another host and port")
            return
        owner = owner_of(server.port, proc)
        owned = f" of {owner}" if owner else ""
        if said := _says(server):
            yield service.warn(
                "port", f"{error.where} is an inferctl service's{owned}, which answers: {said}",
                "--set server.port=0 for a second one; server.share_port = true to replace it",
            )  # fmt: skip
        else:
            yield service.fail("port", f"{error.where} is another program's{owned}", error.hint)
        return
    shown = f"{server.host}:{server.port}" if server.port else f"one that is free on {server.host}"
    yield service.ok("port", f"{shown} can be listened on")


def _says(server: ServerSettings) -> str:
    """What a service of ours says of itself; nothing if it is none.

    Anybody may ask whether it lives, by any name. More it says to whom it knows.
    """
    said = ""
    expected = (OSError, http.client.HTTPException, ValueError, KeyError, TypeError)
    with closing(_connection(server)) as connection, suppress(*expected):
        if _answer(connection, "/livez") == {"live": True}:
            said = "live"
            health = _answer(connection, "/health")
            said = f"{health['status']}, models: {', '.join(health['models']) or 'none'}"
    return said


def _connection(server: ServerSettings) -> http.client.HTTPConnection:
    host = EVERYWHERE.get(server.host, server.host)
    if not server.tls_cert:
        return http.client.HTTPConnection(host, server.port, timeout=ASK_TIMEOUT_S)
    context = ssl.create_default_context()
    # Nothing secret is asked or told: whose certificate it is does not matter.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, server.port, timeout=ASK_TIMEOUT_S, context=context)


def _answer(connection: http.client.HTTPConnection, path: str) -> Any:
    connection.request("GET", path)
    return json.loads(connection.getresponse().read(MAX_ANSWER_BYTES))


def owner_of(port: int, proc: Path = PROC) -> str:
    """Name and number of a process that listens on a port; nothing where that may not be seen."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    for process in proc.iterdir() if sockets else ():
        if process.name.isdigit() and not sockets.isdisjoint(_open_files(process)):
            with suppress(OSError):  # it has just ended
                name = (process / "comm").read_text(errors="replace").strip()
                return f"{name} (process {process.name})"
    return ""


def _open_files(process: Path) -> Iterator[str]:
    """What its descriptors lead to; nothing of one that ended, or is another user's."""
    with suppress(OSError):
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                yield str(descriptor.readlink())


def _listening(port: int, proc: Path) -> Iterator[str]:
    """The inodes of the sockets that listen on it."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = re.split(r"\s+", line.strip())
            if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
