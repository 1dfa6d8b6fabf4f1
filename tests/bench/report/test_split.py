"""The parts of the mean request add up to what the client saw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferctl.bench.report.split import largest, phases_of
from tests.bench.made import KNOWN, UNKNOWN, measurement, report, window


def parts(mean_ms: float, **server: float | None) -> dict[str, float]:
    figures = replace(KNOWN, **server)  # type: ignore[arg-type]
    made = report(measurement(window(np.full(10, mean_ms), server=figures))).loads[0]
    return {phase.name: phase.ms for phase in phases_of(made)}


def test_network_and_client_are_what_the_server_did_not_see() -> None:
    assert parts(10.0) == pytest.approx(
        {
            "network and client": 2.0, "decode": 1.0, "queue": 2.0, "inference": 3.0,
            "postprocess": 0.5, "rest of the server": 1.5,
        }
    )  # fmt: skip


def test_no_part_is_negative_and_together_they_are_the_mean() -> None:
    """The server's mean above the client's, and a run that is counted once for a batch."""
    found = parts(6.0, run_mean_ms=20.0)
    assert min(found.values()) == 0.0
    assert sum(found.values()) == pytest.approx(6.0)


def test_what_the_server_does_not_count_is_in_the_rest() -> None:
    found = parts(10.0, decode_mean_ms=None, postprocess_mean_ms=None)
    assert found["decode"] == found["postprocess"] == 0.0
    assert found["rest of the server"] == pytest.approx(3.0)


def test_without_metrics_or_answers_nothing_is_known() -> None:
    for one in (window([1.0], server=UNKNOWN), window([], server=KNOWN)):
        assert phases_of(report(measurement(one)).loads[0]) == []
    assert largest([]) is None


def test_the_largest_part_is_found() -> None:
    made = report(measurement(window(np.full(10, 10.0)))).loads[0]
    part = largest(phases_of(made))
    assert part is not None
    assert (part.name, part.share) == ("inference", pytest.approx(0.3))
