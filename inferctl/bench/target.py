"""Asking the server: is it ready, what does it serve, what do its metrics say."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from pydantic import BaseModel, ValidationError

from inferctl.bench.exposition import Scrape, read_metrics
from inferctl.errors import BenchError, UsageError

TIMEOUT_S = 10.0


@cache
def _opener(ca: Path | None) -> OpenerDirector:
    """The generator uses no proxy; asking through one could describe another server."""
    context = ssl.create_default_context(cafile=ca)
    return build_opener(ProxyHandler({}), HTTPSHandler(context=context))


class Served(BaseModel):
    """What the load needs to know of `/models/{name}`; the rest of the answer is ignored."""

    name: str
    version: int
    task: str
    example: dict[str, Any] = {}
    default: bool = False


class Tensor(BaseModel):
    """An input of a graph, in the terms of the Open Inference Protocol; -1 is any length."""

    name: str
    datatype: str
    shape: list[int]


class Metadata(BaseModel):
    """What is needed of `/v2/models/{name}`."""

    inputs: list[Tensor]


class _ServedList(BaseModel):
    models: list[Served]


@dataclass(frozen=True, slots=True)
class Target:
    """A model of a running server; `url` has no slash at its end, `ca` is of its certificate."""

    url: str
    model: Served
    api_key: str | None = field(default=None, repr=False)
    ca: Path | None = None

    @property
    def path(self) -> str:
        """The path that answers predictions."""
        return f"/models/{quote(self.model.name, safe='')}/predict"

    @property
    def v2_path(self) -> str:
        """The path of its metadata in the Open Inference Protocol."""
        return f"/v2/models/{quote(self.model.name, safe='')}"


def find_target(
    url: str, model: str | None, api_key: str | None = None, ca: Path | None = None
) -> Target:
    """Ask the server at `url` for `model`, or for its default or only one.

    Raises UsageError for a bad URL or when a choice is left open, and BenchError when the server
    cannot be reached, is not ready, or does not serve the model.
    """
    url = _clean(url)
    _check_ca(ca)
    served = _list(url, api_key, ca) if model is None else _named(url, model, api_key, ca)
    if _get(f"{url}/readyz", api_key, ca)[0] == 503:
        raise BenchError(
            "the server is not ready", where=url, hint="wait until /readyz answers 200"
        )
    chosen = served if isinstance(served, Served) else _choose(url, served)
    return Target(url, chosen, api_key, ca)


def scrape(target: Target) -> Scrape | None:
    """The server's metrics now; None when it has none or cannot answer."""
    try:
        status, body = _get(f"{target.url}/metrics", target.api_key, target.ca)
        return read_metrics(body.decode("utf-8")) if status == 200 else None
    except (BenchError, ValueError):
        return None


def metadata(target: Target) -> Metadata:
    """The model's tensors. Raises BenchError when the server does not speak the protocol."""
    status, body = _get(target.url + target.v2_path, target.api_key, target.ca)
    try:
        return Metadata.model_validate_json(_good(target.url, target.v2_path, status, body))
    except ValidationError:
        raise _foreign(target.url, target.v2_path) from None


def _check_ca(ca: Path | None) -> None:
    try:
        _opener(ca)
    except OSError as error:
        raise UsageError(
            f"no certificates in this file: {error.strerror or error}", where=str(ca),
            hint="--ca takes PEM",
        ) from None  # fmt: skip


def health(target: Target) -> bytes | None:
    """What the server says of its health, JSON; None when it says nothing."""
    try:
        status, body = _get(f"{target.url}/health", target.api_key, target.ca)
    except BenchError:
        return None
    return body if status in (200, 503) else None


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


def _list(url: str, api_key: str | None, ca: Path | None) -> Sequence[Served]:
    status, body = _get(f"{url}/models", api_key, ca)
    try:
        return _ServedList.model_validate_json(_good(url, "/models", status, body)).models
    except ValidationError:
        raise _foreign(url, "/models") from None


def _named(url: str, model: str, api_key: str | None, ca: Path | None) -> Served:
    path = f"/models/{quote(model, safe='')}"
    status, body = _get(url + path, api_key, ca)
    if status == 404:
        raise BenchError(
            f"no model {model!r} is served",
            where=url,
            hint=f"it serves {_names(_list(url, api_key, ca))}",
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


def _get(url: str, api_key: str | None, ca: Path | None) -> tuple[int, bytes]:
    """Status and body, whatever the status. Raises BenchError when there is no answer."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with _opener(ca).open(Request(url, headers=headers), timeout=TIMEOUT_S) as answer:
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
