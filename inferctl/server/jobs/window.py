"""How many items a worker has under way: enough for full batches, and no more.

What is more than that would wait in the engine's queue, where it keeps its place and its memory
from others, and is done in vain when its job is cancelled.
"""

from __future__ import annotations

import math

from inferctl.arena.ledger import Ledger
from inferctl.server.served import ServedModel

# One is run, and one is there when that is done.
BATCHES = 2
LEAST_ITEMS = 2


def window_items(ledger: Ledger, model: ServedModel, workers: int) -> int:
    """Of one model, in one of so many workers."""
    engine = ledger.blocks[Ledger.ENGINE]
    instances = engine.cell("inferctl_instances", model.place).get()
    batch_rows = engine.cell("inferctl_max_batch_rows", model.place).get()
    share = math.ceil(BATCHES * instances * batch_rows / workers)
    return min(max(share, LEAST_ITEMS), model.settings.limits.max_concurrent)
