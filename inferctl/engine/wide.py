"""A second session that uses every core for one run, for the batch that is alone in the engine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable

from inferctl.engine.model import Model
from inferctl.engine.session import RunFailed, Session
from inferctl.engine.warmup import Warm, scratch, usual_tokens, wall_s
from inferctl.errors import StartError
from inferctl.settings import RuntimeSettings

# A run shorter than this is over before the other cores have woken up.
WORTH_WIDENING_S = 0.002
# A wide run keeps every core busy; it must be so much faster.
FASTER = 0.20
TRIES = 3
PAUSES_S = (0.5, 2.0, 8.0)


def worth_widening(model: Model, runtime: RuntimeSettings, cores: int, warmed: Warm) -> bool:
    """Whether a wide session may pay: long runs on one of several idle cores."""
    return (
        not model.on_cuda
        and cores > 1
        and runtime.intra_op_threads == "auto"
        and runtime.profile == "throughput"
        and warmed.curve.seconds(warmed.tokens) > WORTH_WIDENING_S
    )


def widen(
    models: Iterable[tuple[Model, RuntimeSettings]], cores: int, closing: threading.Event
) -> None:
    """Load the wide sessions, and give them to the models that they make faster by FASTER.

    They are compared again after each of the PAUSES_S: what else starts now takes the cores.
    """
    candidates: list[tuple[Model, Session]] = []
    for model, runtime in models:
        with contextlib.suppress(StartError):  # the narrow session serves
            candidates.append((model, Session(model.graph, runtime, cores)))
    for pause_s in PAUSES_S:
        if not candidates or closing.wait(pause_s):
            return
        slower = []
        for model, session in candidates:
            if _is_faster(model, session):
                model.wide = session
            else:
                slower.append((model, session))
        candidates = slower


def _is_faster(model: Model, session: Session) -> bool:
    """Compare the fastest of some narrow and wide runs, taken in turns."""
    arena = scratch(model, 1, usual_tokens(model))
    try:
        model.run(arena, [0], session)
        runs = [(wall_s(model, arena), wall_s(model, arena, session)) for _ in range(TRIES)]
    except RunFailed:
        return False
    narrow_s = min(narrow for narrow, _ in runs)
    wide_s = min(wide for _, wide in runs)
    return wide_s < (1 - FASTER) * narrow_s
