"""Warm-up: the first runs of a model, what they cost, and how large a batch may be."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from inferctl.arena.slots import ModelArena
from inferctl.engine.costs import CostCurve, knee, still_falling
from inferctl.engine.crew import Crew
from inferctl.engine.instance import Instance
from inferctl.engine.instances import Instances
from inferctl.engine.model import Model
from inferctl.engine.rehearsal import failure_of, rehearse, scratch, timed
from inferctl.engine.session import (
    DeviceLost,
    NoKernel,
    OutOfMemory,
    RunFailed,
    Session,
)
from inferctl.engine.wide import Wide
from inferctl.errors import StartError
from inferctl.settings import BatchingSettings, RuntimeSettings

# Every size is timed in turn while there is time left; its fastest run counts.
MAX_ROUNDS = 15
TIMING_BUDGET_S = 0.12
# Larger sizes than one that runs so long are tried only while the cost per row falls.
LONG_RUN_S = 0.02


@dataclass(frozen=True, slots=True)
class Warm:
    """What warming found. `sizes` are those to choose from; none when the size is set by hand.

    `padded` are those that batches are padded to, none where they are not. `fits` is how many rows
    the device's memory holds, 0 when it held all that were tried. `tokens` is the length that rows
    are taken to have until there are some.
    """

    max_batch_rows: int
    sizes: Sequence[int]
    fits: int
    tokens: int
    curve: CostCurve
    padded: Sequence[int] = ()


def warm(model: Model, batching: BatchingSettings, known_rows: int = 0) -> Warm:
    """Run the sizes that may come and time them.

    With `max_batch_rows = "auto"` the answer is the knee of the measured costs, or `known_rows`,
    which a predecessor found. Raises StartError if the model fails, or answers what is no number.
    """
    wanted = batching.max_batch_rows
    largest = known_rows if wanted == "auto" else wanted
    tokens = usual_tokens(model)
    sizes = _sizes(model.manifest.buckets.rows, largest)
    first = _first_runs(model, sizes, tokens, until_dearer=not largest)
    arenas, run_s = first.arenas, first.run_s
    if not largest:
        _take_turns(model, arenas, run_s)
    _check_scores(model, arenas[model.warmed[0]])
    curve = CostCurve(model.has_tokens)
    for rows, seconds in run_s.items():
        curve.measured(rows * tokens, seconds)
    if model.has_tokens:
        for length in (model.manifest.buckets.tokens[0], model.manifest.max_tokens):
            curve.measured(length, _row_s(model, length))
    choice = tuple(model.warmed if model.on_cuda else model.manifest.buckets.rows)
    if not largest:
        largest = knee(run_s)
        if model.has_tokens:
            largest = curve.next_knee(choice, tokens, largest)
    if model.on_cuda and not first.fits:  # where no larger one was without a plan
        largest = min(largest, model.warmed[-1])
    return Warm(
        max_batch_rows=largest,
        sizes=choice if wanted == "auto" else (),
        fits=first.fits,
        tokens=tokens,
        curve=curve,
        padded=tuple(model.warmed) if model.on_cuda else (),
    )


@dataclass(slots=True)
class FirstRuns:
    """By how many rows: an arena of so many, and the seconds of a run. `fits` is as in `Warm`."""

    arenas: dict[int, ModelArena] = field(default_factory=dict)
    run_s: dict[int, float] = field(default_factory=dict)
    fits: int = 0


def _first_runs(
    model: Model, sizes: Sequence[int], tokens: int, *, until_dearer: bool
) -> FirstRuns:
    """Run the sizes upwards, while they fit and, where so wanted, larger ones may be cheaper.

    Raises StartError when none runs, or one fails.
    """
    runs, refusal = FirstRuns(), None
    for rows in sizes:
        model.warmed.append(rows)
        if refusal := _refusal(model, rows, tokens):
            model.warmed.remove(rows)
            if isinstance(refusal, OutOfMemory):
                break
            _tell_of_no_kernel(model, rows, refusal)
            continue
        model.instances.footprint.step(f"for {rows} {'row' if rows == 1 else 'rows'}")
        runs.arenas[rows] = scratch(model, rows, tokens)
        runs.run_s[rows] = timed(model, runs.arenas[rows])
        if until_dearer and runs.run_s[rows] > LONG_RUN_S and not still_falling(runs.run_s):
            break
    if refusal and not model.warmed:
        raise failure_of(model, rows, refusal)
    if isinstance(refusal, OutOfMemory):
        runs.fits = model.warmed[-1]
    return runs


def warm_up(model: Model, batching: BatchingSettings, known_rows: int, crew: Crew | None) -> Warm:
    """Warm a model in the thread that will run it, where it matters in which; raises as `warm`.

    With several devices it is the first one that holds it, which says how many rows a batch has.
    """
    warming = partial(warm, model, batching, known_rows)
    if crew is None:
        return warming()
    while True:
        try:
            crew.first(model.instances.first.enter)
            return crew.first(warming)
        except model.instances.spared as error:
            model.instances.leave_out(model.instances.each[0], error)
        model.warmed.clear()
        crew.begin_with(model.instances.first)


def reinforce(model: Model, crew: Crew, instances: int) -> None:
    """Have so many threads run a warm model on each of its devices, or as many as its memory holds
    instances; a device that holds none is left out.

    Each instance runs every shape: it has a graph of its own for each. Each device has one before
    any has two. Raises StartError, and DeviceLost.
    """
    full: list[Instances] = []
    for number in range(1, instances + 1):
        for device in [*model.instances.each]:
            if device in full or (number == 1 and device is model.instances.each[0]):
                continue
            try:
                _add(model, crew, device, number)
            except model.instances.spared as error:
                if number == 1:
                    model.instances.leave_out(device, error)
                    continue
                if isinstance(error, DeviceLost):  # with it the first one is lost too
                    raise
                full.append(device)
                sys.stderr.write(
                    f"inferctl: {model.manifest.name}: the device has {number - 1} of "
                    f"{instances} instances: {error.what}\n"
                )


def _add(model: Model, crew: Crew, device: Instances, number: int) -> None:
    instance = device.first if number == 1 else device.another()
    crew.add(instance, partial(_rehearse_all, model, instance))
    device.footprint.step(f"for instance {number}")


def _rehearse_all(model: Model, instance: Instance) -> None:
    instance.enter()
    for rows in model.warmed:
        for length in model.manifest.buckets.tokens or (1,):
            try:
                rehearse(model, scratch(model, rows, length), instance)
            except RunFailed as error:
                raise failure_of(model, rows, error) from None


def widen(models: Iterable[tuple[Model, RuntimeSettings]], cores: int) -> None:
    """Load the wide sessions and run each once, which takes longer than any run after it.

    A model whose wide session does not load or run does without.
    """
    for model, runtime in models:
        with contextlib.suppress(StartError, RunFailed, OSError, MemoryError):
            # A thread that sleeps between two nodes may wake on the core that woke it.
            session = Session(model.graph, runtime, cores, spins=True)
            instance = model.instances.on(session)
            rehearse(model, scratch(model, 1, usual_tokens(model)), instance)
            model.wide = Wide(instance)


def usual_tokens(model: Model) -> int:
    """Most texts are much shorter than the longest that is allowed."""
    buckets = model.manifest.buckets.tokens
    return buckets[(len(buckets) - 1) // 2] if buckets else 1


def _sizes(buckets: Sequence[int], largest: int) -> list[int]:
    """The batch sizes to run: the buckets, or up to a largest one, doubling beyond the buckets."""
    sizes = list(buckets)
    while largest and sizes[-1] * 2 < largest:
        sizes.append(sizes[-1] * 2)
    return [rows for rows in sizes if rows < largest] + [largest] if largest else sizes


def _refusal(model: Model, rows: int, tokens: int) -> RunFailed | None:
    """Run a new size once, which may allocate; why the device cannot run it, if so: OutOfMemory or
    NoKernel. Raises StartError for any other failure.

    A GPU runs it with every length that may come: a new shape costs it seconds.
    """
    lengths = model.manifest.buckets.tokens if model.on_cuda else ()
    try:
        for length in lengths or (tokens,):
            rehearse(model, scratch(model, rows, length))
    except (OutOfMemory, NoKernel) as error:
        # Without its frames, which hold what was allocated, and would hold it as long as this.
        return type(error)(error.what)
    except RunFailed as error:
        raise failure_of(model, rows, error) from None
    return None


def _tell_of_no_kernel(model: Model, rows: int, refusal: RunFailed) -> None:
    sys.stderr.write(
        f"inferctl: {model.manifest.name}: batches have other sizes than {rows} rows, for which "
        f"cuDNN has no plan: {refusal.what}\n"
    )


def _row_s(model: Model, tokens: int) -> float:
    """What a run of one row of this length costs."""
    try:
        arena = scratch(model, 1, tokens)
        return min(timed(model, arena), timed(model, arena))
    except RunFailed as error:
        raise failure_of(model, 1, error) from None


def _check_scores(model: Model, arena: ModelArena) -> None:
    """A classifier or detector that has no score for an empty input would fail on every one.

    What the outputs of the task `tensor` mean is not known here: NaN may be an answer.
    """
    if model.manifest.task != "tensor" and not np.isfinite(arena.outputs["scores"]).all():
        raise StartError(
            f"{model.manifest.name} answers NaN or infinity during warm-up",
            where="output scores",
            hint="export the bundle again",
        )


def check_in_time(model: Model, warmed: Warm, limit_s: float) -> None:
    """Raises StartError when no request would be answered in so many seconds."""
    run_s = warmed.curve.seconds(warmed.tokens)
    if run_s > limit_s:
        raise StartError(
            f"{model.manifest.name} takes {run_s:.2g} s for one row, longer than the "
            f"{limit_s:g} s of server.request_timeout_ms",
            hint="raise it and start the service anew, or serve a faster version",
        )


def _take_turns(model: Model, arenas: dict[int, ModelArena], run_s: dict[int, float]) -> None:
    """Time the sizes again, in turns: what else the machine does at start meets all alike."""
    spent_s = sum(run_s.values())
    for _ in range(MAX_ROUNDS):
        for rows, arena in arenas.items():
            took_s = timed(model, arena)
            run_s[rows] = min(run_s[rows], took_s)
            spent_s += took_s
        if spent_s > TIMING_BUDGET_S:
            return
