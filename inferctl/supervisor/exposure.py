"""Who would reach a service with its settings, and whether they say that this is meant."""

from __future__ import annotations

from collections.abc import Iterator

import structlog

from inferctl.cautions import of_openness
from inferctl.errors import SettingsError
from inferctl.settings import ServerSettings, Settings

log = structlog.get_logger()


def exposed(server: ServerSettings) -> Iterator[str]:
    """In what it would be open to more than its settings say, a line each."""
    scopes = {scope for key in server.api_keys.values() for scope in key.scopes}
    if server.is_public and not server.api_keys and not server.insecure:
        yield (
            f"server.host = {server.host} would let others in without a key; "
            "make one with `inferctl key NAME`, or say --insecure"
        )
    if server.admin and "admin" not in scopes and (server.is_public or server.api_keys):
        yield (
            "server.admin needs a key of scope admin; "
            "make one with `inferctl key NAME --scope admin`"
        )
    if bool(server.tls_cert) != bool(server.tls_key):
        given, lacks = ("cert", "key") if server.tls_cert else ("key", "cert")
        yield f"server.tls_{given} is set and server.tls_{lacks} is not; set both or none"


def warn(server: ServerSettings) -> None:
    """Say in the log who may do what."""
    for caution in of_openness(server, is_keyed=bool(server.api_keys)):
        log.warning(str(caution))


def what_may_change(started: Settings, settings: Settings) -> Settings:
    """What a running service takes over, models and API keys; the rest is as it was started with.

    Raises SettingsError when it would be open to more than that says, or all keys are gone: a file
    that somebody empties or is about to write is not to open what was closed, on loopback neither.
    """
    if started.server.api_keys and not settings.server.api_keys:
        raise SettingsError(
            "server.api_keys names none any more, and those of before stay",
            hint="leave one, or start the service anew without keys",
        )
    keys = {"api_keys": settings.server.api_keys}
    server = started.server.model_copy(update=keys)
    kept = {"server": server, "logs": started.logs, "metrics": started.metrics}
    as_started = settings.model_copy(update=kept)
    if settings != as_started:
        log.warning("server, logs and metrics keep their settings until the service starts anew")
    if problems := list(exposed(server)):
        raise SettingsError("\n".join(problems))
    return as_started
