"""The settings: whether they load, agree with each other, and open no more than they say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inferctl.cautions import of_openness
from inferctl.cores import available_cores
from inferctl.doctor.findings import Finding, Subject
from inferctl.errors import InferctlError, SettingsError, StartError
from inferctl.settings import Settings
from inferctl.sources import LoadedSettings, load_settings
from inferctl.supervisor.contradictions import check_settings, worker_count
from inferctl.supervisor.limits import check_limits, check_tasks
from inferctl.tls import tls_context

settings = Subject("settings")
service = Subject("service")

CORRECT = "correct it there; what there is: inferctl config init -"


def load(flags: dict[str, Any], config: Path | None) -> tuple[LoadedSettings, list[Finding]]:
    """The settings; where they do not load, the defaults with the models folder that was named."""
    try:
        loaded = load_settings(flags, config)
    except SettingsError as error:
        problems = [settings.fail("load", line, CORRECT) for line in str(error).splitlines()]
        rest = settings.warn("rest", "all that follows is by the defaults", "correct them first")
        return _defaults(flags), [*problems, rest]
    sources = sorted(set(loaded.origins.values()))
    by = f"{len(loaded.origins)} set by {', '.join(sources)}" if sources else "none set"
    return loaded, [settings.ok("load", f"{by}, the others have their defaults")]


def _defaults(flags: dict[str, Any]) -> LoadedSettings:
    named = {key: value for key, value in flags.items() if key == "models_dir"}
    try:
        return LoadedSettings(Settings(**named), dict.fromkeys(named, "flag"))
    except ValidationError:  # the name of the folder is what is wrong
        return LoadedSettings(Settings(), {})


def agreement_findings(own: Settings) -> Iterator[Finding]:
    """Contradictions, exposure and the certificate, as `inferctl serve` looks for them."""
    try:
        check_settings(own, available_cores())
        yield settings.ok("agreement", "they do not contradict each other")
    except SettingsError as error:
        for line in str(error).splitlines():
            finding, _, fix = line.partition("; ")
            yield settings.fail("agreement", finding, fix or CORRECT)
    told = list(of_openness(own.server, is_keyed=bool(own.server.api_keys)))
    for finding, fix in told:
        yield settings.warn("exposure", finding, fix)
    if not told:
        yield settings.ok("exposure", _exposure(own))
    try:
        certificate = tls_context(own.server)
    except StartError as error:
        yield settings.error("certificate", error, "check server.tls_cert and server.tls_key")
    else:
        shown = own.server.tls_cert if certificate else "none: plain HTTP"
        yield settings.ok("certificate", shown)


def _exposure(own: Settings) -> str:
    reached = "others may reach it" if own.server.is_public else "this machine alone reaches it"
    keys = len(own.server.api_keys)
    return f"{reached}, with {keys} API keys" if keys else f"{reached}, without API keys"


def limit_findings(own: Settings) -> Iterator[Finding]:
    """What the system must let the service have, as `inferctl serve` tries it."""
    cores = available_cores()
    workers = worker_count(own.server, cores)
    try:
        check_limits()
        check_tasks(workers, cores)
        yield service.ok("limits", "descriptors, address space, processes and threads suffice")
    except InferctlError as error:
        yield service.error("limits", error, "raise it")
    if workers > cores:
        yield service.warn(
            "workers", f"{workers} workers have {cores} cores: they wait for one another",
            'server.workers = "auto"',
        )  # fmt: skip
    else:
        yield service.ok("workers", f"{workers} for {cores} cores")
