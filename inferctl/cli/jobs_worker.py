"""`inferctl jobs worker`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from inferctl.cli.serving import Assign, Config, Device, Models, flag_tree

if TYPE_CHECKING:
    from inferctl.settings import Settings


def worker(
    models: Models = None,
    config: Config = None,
    workers: Annotated[str | None, typer.Option(help="Processes, or auto")] = None,
    device: Device = None,
    assign: Assign = None,
) -> None:
    """Do jobs that other machines take in: an engine of its own, on one Redis with theirs.

    Its settings are those of `inferctl serve`, and it serves too, on a free port of this machine
    alone, unless --set server.port and server.host say otherwise: for health and metrics.
    """
    from inferctl.supervisor.limits import check_limits

    check_limits()
    from inferctl.cli.run import run_service
    from inferctl.sources import load_settings
    from inferctl.variables import tracing

    own: dict[str, Any] = {
        "models_dir": models,
        "server.workers": workers,
        "runtime.device": device,
    }
    flags = flag_tree(["server.host=127.0.0.1", "server.port=0", *(assign or [])], own)
    run_service(lambda: doing_jobs(load_settings(flags, config).settings), tracing())


def doing_jobs(settings: Settings) -> Settings:
    """The settings, of a service that does jobs of others. Raises SettingsError."""
    from inferctl.errors import SettingsError

    if settings.jobs.backend != "celery":
        raise SettingsError(
            f'jobs.backend is "{settings.jobs.backend}": workers are for jobs of many machines',
            hint='set jobs.backend = "celery" and jobs.redis_url',
        )
    return settings.model_copy(update={"jobs": settings.jobs.model_copy(update={"run": True})})
