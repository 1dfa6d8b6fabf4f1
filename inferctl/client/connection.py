"""What both clients have of httpx: how it is set up, and what its errors mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from inferctl import __version__
from inferctl.client.errors import DeadlineExceeded, InvalidInput, Unreachable
from inferctl.client.exchange import NO_TIME_LEFT, Lost, Send

# The server keeps an idle connection for 75 s.
KEEP_ALIVE_S = 60.0
LIMITS = httpx2.Limits(keepalive_expiry=KEEP_ALIVE_S)
UNREACHABLE_HINT = "start it with `inferctl serve`, or check the URL"


def settings(url: str, api_key: str | None, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """The arguments of httpx's client. Raises InvalidInput for what no server can be sent."""
    fields = {"user-agent": f"inferctl/{__version__}"}
    if api_key is not None:
        fields["authorization"] = f"Bearer {api_key}"
    fields |= headers or {}
    for name, value in fields.items():
        if not (name + value).isascii():
            raise InvalidInput(f"the header {name} is not ASCII")
    return {"base_url": _server(url), "headers": fields, "limits": LIMITS}


def request_of(step: Send) -> dict[str, Any]:
    """The arguments of httpx's `build_request`."""
    outgoing = step.outgoing
    return {
        "method": outgoing.method,
        "url": outgoing.path,
        "params": dict(outgoing.params) or None,
        "headers": dict(step.headers),
        "content": outgoing.body,
        "extensions": {"timeout": step.time_left},
    }


def lost(error: httpx2.RequestError, step: Send, *, answered: bool) -> Lost:
    """What it means that a request ended without an answer."""
    if isinstance(error, httpx2.TimeoutException):
        what = f"{NO_TIME_LEFT}: {step.time_left.timeout_s:g} s"
        return Lost(DeadlineExceeded(what, hint="raise timeout_s"), unsent=False)
    if isinstance(error, httpx2.LocalProtocolError | httpx2.UnsupportedProtocol):
        return Lost(InvalidInput(f"the request cannot be sent: {error}"), unsent=False)
    if answered or isinstance(error, httpx2.DecodingError):
        return Lost(Unreachable(f"the answer broke off: {error}"), unsent=False)
    what = f"the server does not answer: {str(error) or type(error).__name__}"
    return Lost(Unreachable(what, hint=UNREACHABLE_HINT), unsent=True)


def _server(url: str) -> str:
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise InvalidInput(f"{url} is not the URL of a server", hint="write http://HOST:PORT")
    return url
