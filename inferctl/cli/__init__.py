"""One file per command: flags become settings, settings become one call.

Commands import what they run inside their bodies, so that `inferctl --help` stays quick.
"""

from __future__ import annotations

import typer

from inferctl.cli.bench import bench
from inferctl.cli.check import check
from inferctl.cli.config import config
from inferctl.cli.demo import demo
from inferctl.cli.doctor import doctor
from inferctl.cli.export import export
from inferctl.cli.jobs import jobs
from inferctl.cli.key import key
from inferctl.cli.logs import logs
from inferctl.cli.models import models
from inferctl.cli.onnx import import_
from inferctl.cli.predict import predict
from inferctl.cli.report import report
from inferctl.cli.serve import serve
from inferctl.cli.top import top
from inferctl.cli.tune import tune

app = typer.Typer(
    name="inferctl",
    help="From a PyTorch checkpoint to a measured production service.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    export, import_, check, models, serve, predict, bench, report, tune, top, logs, doctor, demo,
    key,
)  # fmt: skip
for command in COMMANDS:
    # `import` is a word of Python's own.
    app.command(command.__name__.rstrip("_"))(command)
app.add_typer(jobs, name="jobs")
app.add_typer(config, name="config")
