"""The frontier in letters, for a terminal: goodput to the right, latency upwards."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inferctl.tune.frontier import Spot, frontier

WIDTH, HEIGHT = 64, 12
DOT, BEST, CHOSEN = "·", "●", "◆"
# What is far beyond the limit is drawn at the upper edge: the limit is what matters.
LIMITS_SHOWN = 4.0


def plot(found: Sequence[Spot], limit_ms: float, chosen: Spot | None = None) -> str:
    """Lines of text: every spot, the frontier among them, the chosen one, and the limit.

    Latency is on a logarithmic axis.
    """
    if not found:
        return ""
    most_per_s = max(spot.per_s for spot in found)
    low_ms = min(limit_ms / 2, *(spot.latency_ms for spot in found))
    high_ms = max(1.2 * limit_ms, min(LIMITS_SHOWN * limit_ms, max(s.latency_ms for s in found)))
    cells = [[" "] * WIDTH for _ in range(HEIGHT)]

    def row(latency_ms: float) -> int:
        share = math.log(min(latency_ms, high_ms) / low_ms) / math.log(high_ms / low_ms)
        return HEIGHT - 1 - round(share * (HEIGHT - 1))

    cells[row(limit_ms)] = ["-"] * WIDTH
    best = frontier(found)
    # The frontier covers the other spots, and the chosen one covers all.
    for mark, spots in ((DOT, found), (BEST, best), (CHOSEN, [chosen] if chosen else [])):
        for spot in spots:
            cells[row(spot.latency_ms)][round(spot.per_s / most_per_s * (WIDTH - 1))] = mark
    labels = {0: high_ms, row(limit_ms): limit_ms, HEIGHT - 1: low_ms}
    lines = [
        f"{f'{labels[number]:,.3g} ms' if number in labels else '':>10} |{''.join(line)}"
        for number, line in enumerate(cells)
    ]
    lines.append(f"{'':>10} +{'-' * WIDTH}")
    lines.append(f"{'':>10}  0{f'{most_per_s:,.4g} within the limit per second':>{WIDTH - 1}}")
    return "\n".join(lines)
