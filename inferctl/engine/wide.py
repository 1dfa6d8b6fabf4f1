"""A second session that uses every core for one run, for the batch that is alone in the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inferctl.engine.instance import Instance
from inferctl.settings import RuntimeSettings

if TYPE_CHECKING:
    from inferctl.engine.model import Model
    from inferctl.engine.warmup import Warm

# A run shorter than this is over before the other cores have woken up.
WORTH_WIDENING_S = 0.002
# A wide run keeps every core busy, and costs a little more CPU: it must be so much faster.
FASTER = 0.10
# The share of the last run in what the next one is judged by.
NEWS = 0.1
# A run that took longer than the usual one by this factor was disturbed; so much of it counts.
DISTURBED = 1.5
# While it is not the faster one, every so many batches it is tried again: the cores may be free.
RETRY_EVERY = 32


class Wide:
    """A wide session, and whether it is the faster one just now: other processes want cores too.

    It is taken for faster until its runs say otherwise.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        # Averages of the last runs: a long run, which gains most, counts for more than a short one.
        self._took_s = 0.0
        self._usual_s = 0.0
        self._passed_over = 0

    def offer(self) -> Instance | None:
        """What runs a batch that is alone, if it is worth it."""
        if self._took_s <= (1 - FASTER) * self._usual_s:
            return self._instance
        self._passed_over += 1
        if self._passed_over < RETRY_EVERY:
            return None
        self._passed_over = 0
        return self._instance

    def observe(self, took_s: float, usual_s: float) -> None:
        """A wide run took so long, and the usual session is expected to take `usual_s`."""
        if not self._usual_s:
            self._took_s, self._usual_s = usual_s / 2, usual_s
        self._took_s += NEWS * (min(took_s, DISTURBED * usual_s) - self._took_s)
        self._usual_s += NEWS * (usual_s - self._usual_s)


def worth_widening(model: Model, runtime: RuntimeSettings, cores: int, warmed: Warm) -> bool:
    """Whether a wide session may pay: long runs on one of several idle cores."""
    return (
        not model.on_cuda
        and cores > 1
        and runtime.intra_op_threads == "auto"
        and runtime.profile == "throughput"
        and warmed.curve.seconds(warmed.tokens) > WORTH_WIDENING_S
    )
