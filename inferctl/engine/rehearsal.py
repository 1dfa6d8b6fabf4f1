"""Runs of a model that nobody waits for."""

from __future__ import annotations

import mmap
import time

from inferctl.arena.layout import arena_bytes
from inferctl.arena.slots import ModelArena
from inferctl.engine.instance import Instance
from inferctl.engine.model import Model
from inferctl.engine.session import DeviceLost, Ended, NoKernel, OutOfMemory, RunFailed
from inferctl.errors import InferctlError, InsufficientMemory, StartError


def scratch(model: Model, rows: int, tokens: int) -> ModelArena:
    """An arena whose slots all hold a row of `tokens` tokens.

    In memory of its own: after a restart the real slots hold waiting requests.
    """
    manifest = model.manifest
    arena = ModelArena(manifest, rows, 1, mmap.mmap(-1, arena_bytes(manifest, rows)))
    arena.tokens[:] = tokens
    if "attention_mask" in arena.inputs:
        arena.inputs["attention_mask"][:, :tokens] = 1
    return arena


def timed(model: Model, arena: ModelArena) -> float:
    """What a run of the whole arena costs, in seconds."""
    begun_s = model.clock()
    rehearse(model, arena)
    return model.clock() - begun_s


def rehearse(model: Model, arena: ModelArena, instance: Instance | None = None) -> None:
    """Run the whole arena, watched. Raises RunFailed, also if it takes too long."""
    stint = model.rehearsal
    stint.begin((), time.monotonic())
    try:
        model.run(arena, range(arena.slots), instance, stint.options)
    finally:
        stint.begun_s = 0.0


def failure_of(model: Model, rows: int, error: RunFailed) -> InferctlError:
    """What ends a load whose rehearsal of so many rows failed."""
    if isinstance(error, DeviceLost):
        return error  # no fault of the model, and the end of the process
    if isinstance(error, OutOfMemory):
        return InsufficientMemory(f"{model.manifest.name} fails at {rows} rows during warm-up")
    if isinstance(error, NoKernel):
        return StartError(
            f"{model.manifest.name} has no plan for {rows} rows during warm-up: {error.what}",
            hint="serve it in fp16, or set runtime.tf32 = true",
        )
    is_slow = isinstance(error, Ended)
    what, reason = ("takes too long", "") if is_slow else ("fails", f": {error.what}")
    return StartError(
        f"{model.manifest.name} {what} at {rows} rows during warm-up{reason}",
        hint="export the bundle again",
    )
