"""Asking the server: is it ready, what does it serve, what do its metrics say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from pydantic import BaseModel, ValidationError

from inferctl.bench.figures import Scrape, read_metrics
from inferctl.errors import BenchError, UsageError

TIMEOUT_S = 10.0

# The generator uses no proxy either; asking through one could describe another server.
_OPENER = build_opener(ProxyHandler({}))


class Served(BaseModel):
    """What the load needs to know of `/models/{name}`; the rest of the answer is ignored."""

    name: str
    version: int
    task: str
    example: dict[str, Any] = {}
    default: bool = False


class _ServedList(BaseModel):
    models: list[Served]


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a running server; `url` has no slash at its end."""

    url: str
    model: Served
    api_key: str | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """The path that answers predictions."""
        return f"/models/{quote(self.model.name, safe='')}/predict"


def find_target(url: str, model: str | None, api_key: str | None = None) -> Target:
    """Ask the server at `url` for `model`, or for its default or only one.

    Raises UsageError for a bad URL or when a choice is left open, and BenchError when the server
    cannot be reached, is not ready, or does not serve the model.
    """
    url = _clean(url)
    served = _list(url, api_key) if model is None else _named(url, model, api_key)
    if _get(f"{url}/readyz", api_key)[0] == 503:
        raise BenchError(
            "the server is not ready", where=url, hint="wait until /readyz answers 200"
        )
    chosen = served if isinstance(served, Served) else _choose(url, served)
    return Target(url, chosen, api_key)


def scrape(url: str, api_key: str | None = None) -> Scrape | None:
    """The server's metrics now; None when it has none or cannot answer."""
    try:
        status, body = _get(f"{url}/metrics", api_key)
        return read_metrics(body.decode("utf-8")) if status == 200 else None
    except (BenchError, ValueError):
        return None


def _clean(url: str) -> str:
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise UsageError("not the URL of a server", where=url, hint="write http://HOST:PORT")
    return url.rstrip("/")


def _list(url: str, api_key: str | None) -> Sequence[Served]:
    status, body = _get(f"{url}/models", api_key)
    try:
        return _ServedList.model_validate_json(_good(url, "/models", status, body)).models
    except ValidationError:
        raise _foreign(url, "/models") from None


def _named(url: str, model: str, api_key: str | None) -> Served:
    path = f"/models/{quote(model, safe='')}"
    status, body = _get(url + path, api_key)
    if status == 404:
        raise BenchError(
            f"no model {model!r} is served",
            where=url,
            hint=f"it serves {_names(_list(url, api_key))}",
        )
    try:
        return Served.model_validate_json(_good(url, path, status, body))
    except ValidationError:
        raise _foreign(url, path) from None


def _choose(url: str, served: Sequence[Served]) -> Served:
    candidates = [model for model in served if model.default] or served
    if not candidates:
        raise BenchError("no model is served", where=url)
    if len(candidates) > 1:
        raise UsageError(
            "several models are served", where=url, hint=f"--model takes one of {_names(served)}"
        )
    return candidates[0]


def _names(served: Sequence[Served]) -> str:
    return ", ".join(model.name for model in served) or "none"


def _good(url: str, path: str, status: int, body: bytes) -> bytes:
    if status == 503:
        raise BenchError(
            "the server is not ready", where=url, hint="wait until /readyz answers 200"
        )
    if status in (401, 403):
        raise BenchError(
            f"{path} answered {status}", where=url,
            hint="set INFERCTL_API_KEY to a key that may predict",
        )  # fmt: skip
    if status != 200:
        raise BenchError(f"{path} answered {status}", where=url, hint="is it an inferctl server?")
    return body


def _foreign(url: str, path: str) -> BenchError:
    return BenchError(
        f"{path} does not describe a model", where=url, hint="is it an inferctl server?"
    )


def _get(url: str, api_key: str | None) -> tuple[int, bytes]:
    """Status and body, whatever the status. Raises BenchError when there is no answer."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with _OPENER.open(Request(url, headers=headers), timeout=TIMEOUT_S) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.read()
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or reason
        raise BenchError(
            f"the server does not answer: {reason}",
            where=url,
            hint="start it with `inferctl serve`, or check the URL",
        ) from None
