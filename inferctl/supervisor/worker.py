"""Where workers come from: the supervisor makes what they have in common, and forks them of it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from ssl import SSLContext
from typing import TYPE_CHECKING

from inferctl.arena.spec import ModelSpec, WorkerSpec
from inferctl.arena.wire import Control
from inferctl.heap import give_back
from inferctl.naming import name_process
from inferctl.orphans import end_soon_after_parent
from inferctl.settings import ServerSettings
from inferctl.supervisor.child import tell_stacks_when_asked
from inferctl.supervisor.fork import freeze
from inferctl.tracing import Tracing

if TYPE_CHECKING:
    from inferctl.server.worker import Prototype


class Nursery:
    """Their code, imported, and what depends on the models alone: tokenizers, schemas, routes.

    `tls` is all workers', for as long as the service runs: files that change meanwhile, or are half
    written, are nobody's concern.
    """

    _prototype: Prototype

    def __init__(
        self, server: ServerSettings, tracing: Tracing | None = None, tls: SSLContext | None = None,
        *, takes_jobs: bool = False,
    ) -> None:  # fmt: skip
        self._server, self._tracing, self._tls = server, tracing, tls
        self._takes_jobs = takes_jobs

    def prepare(self, models: Sequence[ModelSpec]) -> None:
        """Make it; before the first fork. Raises BundleError."""
        # Not at the top: it takes as long as the engine takes to start, beside which it is done.
        from inferctl.server.worker import Prototype  # noqa: PLC0415

        self._prototype = Prototype(
            models, self._server, self._tracing, self._tls, takes_jobs=self._takes_jobs
        )
        freeze()

    def add(self, model: ModelSpec) -> None:
        """Another version, for those that are born from now on. Raises BundleError."""
        self._prototype.add(model)

    def drop(self, place: int) -> None:
        """Those that are born from now on do without a version."""
        self._prototype.drop(place)
        gc.collect()  # its schemas are classes, which are cycles
        give_back()

    def work(self, spec: Callable[[], WorkerSpec], control: Control) -> None:
        """The life of a worker, in its own process."""
        name_process("inferctl-worker")
        end_soon_after_parent()
        tell_stacks_when_asked()
        self._prototype.serve(spec(), control)
