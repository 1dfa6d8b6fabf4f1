"""Where workers come from: the supervisor makes what they have in common, and forks them of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from inferctl.arena.spec import ModelSpec, WorkerSpec
from inferctl.arena.wire import Control
from inferctl.naming import name_process
from inferctl.supervisor.fork import freeze

if TYPE_CHECKING:
    from inferctl.server.worker import Prototype


class Nursery:
    """Their code, imported, and what depends on the models alone: tokenizers, schemas, routes."""

    _prototype: Prototype

    def __init__(self, models: Sequence[ModelSpec], *, docs: bool, ui: bool) -> None:
        self._models = models
        self._docs = docs
        self._ui = ui

    def prepare(self) -> None:
        """Make it; before the first fork. Raises BundleError."""
        # Not at the top: it takes as long as the engine takes to start, beside which it is done.
        from inferctl.server.worker import Prototype  # noqa: PLC0415

        self._prototype = Prototype(self._models, docs=self._docs, ui=self._ui)
        freeze()

    def work(self, spec: WorkerSpec, control: Control) -> None:
        """The life of a worker, in its own process."""
        name_process("inferctl-worker")
        self._prototype.serve(spec, control)
