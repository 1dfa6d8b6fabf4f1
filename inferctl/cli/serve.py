"""`inferctl serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inferctl.cli.serving import Assign, Config, Device, Models, flag_tree


def serve(
    models: Models = None,
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on")] = None,
    port: Annotated[
        str | None, typer.Option(help="Port to listen on; 0 takes a free one", metavar="<int>")
    ] = None,
    workers: Annotated[str | None, typer.Option(help="HTTP processes, or auto")] = None,
    device: Device = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file of the certificate and its chain", metavar="FILE")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="PEM file of its private key", metavar="FILE")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond loopback without API keys")
    ] = False,
    strict_store: Annotated[
        bool, typer.Option("--strict-store", help="Do not start with a damaged job store")
    ] = False,
    assign: Assign = None,
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
            "jobs.strict_store": strict_store or None,
        },
    )
    run_service(lambda: load_settings(flags, config).settings, tracing())
