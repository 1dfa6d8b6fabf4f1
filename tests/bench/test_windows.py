"""Windows are cut out of records, and tell when the generator was the limit."""

from __future__ import annotations

import numpy as np
import pytest

from inferctl.bench.windows import Boundary, client_limit, windows_between

FIRST, MIDDLE, LAST = (
    Boundary(at_s, None, cpu_s)
    for at_s, cpu_s in ((10.0, [1.0, 1.0]), (12.0, [1.2, 2.8]), (13.0, None))
)
REQUESTS = np.array(
    [
        [10.5, 10.5, 10.6, 200.0],
        [10.0, 10.0, 10.4, 200.0],
        [11.0, 11.0, 12.5, 500.0],
        [12.0, 12.0, 12.1, 200.0],
        [13.0, 13.0, 13.1, 200.0],
    ]
)


def test_windows_lie_between_boundaries() -> None:
    """Good answers in order of begin; the CPU is that of the busiest process."""
    one, two = windows_between((FIRST, MIDDLE, LAST), REQUESTS, 8.0, "m")
    assert (one.begun_s, one.duration_s, two.begun_s, two.duration_s) == (2.0, 2.0, 4.0, 1.0)
    assert one.latencies_ms == pytest.approx([400.0, 100.0])
    assert one.begins_s == pytest.approx([0.0, 0.5])
    assert (one.client.answered, one.client.errors, two.client.answered) == (2, {"500": 1}, 1)
    assert (one.generator_cpu_cores, two.generator_cpu_cores) == (pytest.approx(0.9), None)
    assert windows_between((FIRST,), REQUESTS, 8.0, "m") == ()


def sent_late(late_s: float, latency_s: float, share: float = 0.02) -> np.ndarray:
    """A thousand requests, some of which were sent late."""
    begun_s = np.full(1000, 10.0)
    sent_s = begun_s + late_s * (np.arange(1000) < share * 1000)
    return np.stack([begun_s, sent_s, begun_s + latency_s, np.full(1000, 200.0)], axis=1)


def test_a_busy_or_late_generator_is_the_limit() -> None:
    """Late is one in a hundred, by more than a millisecond and a tenth of the usual latency."""
    (busy,) = windows_between((FIRST, MIDDLE), REQUESTS, 8.0, "m")
    told = client_limit(busy.generator_cpu_cores, REQUESTS, False)
    assert told == "the load generator used 90% of a core"
    (window,) = windows_between((MIDDLE, LAST), REQUESTS, 8.0, "m")
    idle = window.generator_cpu_cores
    assert client_limit(idle, np.empty((0, 4)), False) is None
    assert client_limit(idle, sent_late(0.005, 0.02), False) == (
        "the load generator sent one request in a hundred 5.0 ms late or more, which is in the "
        "latencies: it had no core to itself"
    )
    assert "connections" in (client_limit(idle, sent_late(0.005, 0.02), True) or "")
    for late in (sent_late(0.0009, 0.002), sent_late(0.005, 0.06), sent_late(0.005, 0.02, 0.01)):
        assert client_limit(idle, late, False) is None
