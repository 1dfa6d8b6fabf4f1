"""`inferctl serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def serve(
    models: Annotated[
        Path | None,
        typer.Argument(help="A bundle, or a folder of models [default: models]", readable=False),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings", metavar="FILE", readable=False)
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on")] = None,
    port: Annotated[
        str | None, typer.Option(help="Port to listen on; 0 takes a free one", metavar="<int>")
    ] = None,
    workers: Annotated[str | None, typer.Option(help="HTTP processes, or auto")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda")] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file of the certificate and its chain", metavar="FILE")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="PEM file of its private key", metavar="FILE")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond loopback without API keys")
    ] = False,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any setting: section.key=value", metavar="KEY=VALUE"),
    ] = None,
) -> None:
    """Serve bundles over HTTP: dynamic batching, limits, metrics."""
    from inferctl.supervisor.limits import check_limits

    check_limits()
    from inferctl.cli.run import run_service
    from inferctl.sources import load_settings
    from inferctl.variables import tracing

    flags = flag_tree(
        assign or [],
        {
            "models_dir": models,
            "server.host": host,
            "server.port": port,
            "server.workers": workers,
            "runtime.device": device,
            "server.tls_cert": tls_cert,
            "server.tls_key": tls_key,
            "server.insecure": insecure or None,
        },
    )
    run_service(lambda: load_settings(flags, config).settings, tracing())


def flag_tree(assignments: list[str], named: dict[str, Any]) -> dict[str, Any]:
    """The settings tree of the flags; a named flag wins over `--set`."""
    from inferctl.sources import settings_tree

    given = [f"{key}={value}" for key, value in named.items() if value is not None]
    return settings_tree([*assignments, *given])
