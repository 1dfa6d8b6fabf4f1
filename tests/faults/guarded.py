"""A service that asks for keys, and clients of its that have one, another, or none."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.service import Answer, Service

NOBODY: Mapping[str, str] = {}


def make_key(config: Path, name: str, *scopes: str) -> str:
    """A key as a person makes one: its settings are appended to the file."""
    flags = [flag for scope in scopes for flag in ("--scope", scope)]
    command = [sys.executable, "-m", "inferctl", "key", name, *flags]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    with config.open("a", encoding="utf-8") as file:
        file.write(made.stdout)
    return made.stderr.splitlines()[0]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


class Wire:
    """A connection on which a request's target goes as it is."""

    def __init__(self, service: Service) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30)

    def ask(
        self, method: str, target: str, headers: Mapping[str, str] = NOBODY, body: bytes = b""
    ) -> Answer:
        connection = self._connection
        connection.putrequest(method, target, skip_host="Host" in headers)
        if method not in ("GET", "HEAD"):
            connection.putheader("Content-Length", str(len(body)))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        reply = connection.getresponse()
        return Answer(reply.status, dict(reply.headers.items()), reply.read())

    def close(self) -> None:
        self._connection.close()
