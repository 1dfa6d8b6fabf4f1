"""Which process was replaced last, when, and what the one before it died of."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Literal, cast

from pydantic import BaseModel

from inferctl.arena.ledger import DIED_OF, DIED_S, Ledger
from inferctl.arena.metric import DEATH_REASONS

# So long a restart is a warning.
RECENT_S = 300.0

Role = Literal["engine", "worker"]
Reason = Literal["crash", "killed", "timeout", "exit"]

OUT_OF_MEMORY = "look whether the kernel ran out of memory, and serve less or give it more"
LAST_WORDS = "look at the service's stderr for its last words"
# What to do about each.
ADVICE: dict[tuple[Role, Reason], str] = {
    ("engine", "crash"): "look for the outcome engine_crash in the request log, and at the "
    "service's stderr",
    ("engine", "killed"): OUT_OF_MEMORY,
    ("engine", "timeout"): "look for the outcome deadline_exceeded in the request log, or raise "
    "runtime.max_run_ms",
    ("engine", "exit"): LAST_WORDS,
    ("worker", "crash"): LAST_WORDS,
    ("worker", "killed"): OUT_OF_MEMORY,
    ("worker", "timeout"): "look at the service's log for what blocked its event loop",
    ("worker", "exit"): LAST_WORDS,
}


class Restart(BaseModel):
    """The last death of a process that is started again; `at` is UTC in ISO 8601."""

    role: Role
    reason: Reason
    at: str
    ago_s: float


def last_restart(ledger: Ledger) -> Restart | None:
    """The one that died last of all engines and workers; None while none did."""
    blocks = ledger.blocks[Ledger.ENGINE :]
    place = max(range(len(blocks)), key=lambda place: blocks[place].state(DIED_S).get())
    if not (died_s := blocks[place].state(DIED_S).get()):
        return None
    ago_s = time.monotonic() - died_s
    moment = datetime.fromtimestamp(time.time() - ago_s, UTC)
    return Restart(
        role="engine" if place == 0 else "worker",
        reason=cast("Reason", DEATH_REASONS[int(blocks[place].state(DIED_OF).get())]),
        at=moment.isoformat(timespec="milliseconds"),
        ago_s=round(ago_s, 3),
    )


def caution_of(restart: Restart) -> str:
    """A recent restart in a sentence, with what to do."""
    return (
        f"the {restart.role} was started again {restart.ago_s:.0f} s ago ({restart.reason}): "
        f"{ADVICE[restart.role, restart.reason]}"
    )
