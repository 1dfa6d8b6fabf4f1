"""How a worker begins: its code is imported here, once, and every fork has it."""

from __future__ import annotations

from inferctl.arena.spec import WorkerSpec
from inferctl.arena.wire import Control
from inferctl.naming import name_process
from inferctl.supervisor.fork import freeze

WORKER = "inferctl-worker"


def import_code() -> None:
    """Make the supervisor what workers can be forked of."""
    # Not at the top: it takes as long as the engine takes to start, beside which it can be done.
    import inferctl.server.worker  # noqa: F401, PLC0415

    freeze()


def work(spec: WorkerSpec, control: Control) -> None:
    """The life of a worker, in its own process."""
    from inferctl.server.worker import serve  # noqa: PLC0415

    name_process(WORKER)
    serve(spec, control)
