"""Measurements of one window, by a load and the latencies that its answers had."""

from __future__ import annotations

from collections.abc import Sequence

from inferctl.bench.measurement import Load, Measurement
from tests.bench import made


def measurement(
    load: Load,
    latencies_ms: Sequence[float],
    *,
    seconds: float = 1.0,
    failed: int = 0,
    client_limited: str | None = None,
    generator_cores: float | None = None,
) -> Measurement:
    """A window in which these were answered, and others were not."""
    errors = {"429": failed} if failed else {}
    window = made.window(
        latencies_ms, 0.0, seconds, errors, server=made.UNKNOWN, cores=generator_cores
    )
    return made.measurement(window, load=load, stable=False, limited=client_limited)
