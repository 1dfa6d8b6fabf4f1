"""An HDR histogram counts every latency, and others can read it."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inferctl.bench.report.histogram import HIGHEST_NS, NS_PER_MS, Histogram

# What `hdrhistogram` 0.10.8 made: HdrHistogram(1, 3600 * 10**9, 3), values of VALUES_NS, encode().
WRITTEN_BY_HDRHISTOGRAM = (
    "HISTFAAAADF4nJNpmSzMwMDAzwABzFCaEch0M9ixgMH+A0SAieWnPBNb62bGS/xvbzAyAQC18gli"
)
VALUES_NS = {0: 1, 1: 2, 2047: 1, 2048: 3, 5_000_000: 1000, 5_000_001: 1, 59_999_999_999: 1}

HOUR_MS = HIGHEST_NS / NS_PER_MS
LATENCIES = arrays(np.float64, st.integers(1, 200), elements=st.floats(0.0001, HOUR_MS))


def test_what_the_python_library_wrote_is_read_value_by_value() -> None:
    found = Histogram.decode(WRITTEN_BY_HDRHISTOGRAM)
    expected = Histogram.of(np.repeat([*VALUES_NS], [*VALUES_NS.values()]) / NS_PER_MS)
    assert found.indices.tolist() == expected.indices.tolist()
    assert found.counts.tolist() == expected.counts.tolist()
    assert found.count == 1009


def test_what_is_written_is_what_the_python_library_wrote() -> None:
    """Byte by byte, but for how well zlib packs it."""
    ours, theirs = (
        zlib.decompress(base64.b64decode(text)[8:])
        for text in (Histogram.decode(WRITTEN_BY_HDRHISTOGRAM).encode(), WRITTEN_BY_HDRHISTOGRAM)
    )
    assert ours == theirs


@given(LATENCIES)
def test_no_latency_is_lost_or_moved_by_more_than_a_thousandth(
    latencies_ms: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    found = Histogram.decode(Histogram.of(latencies_ms).encode())
    kept = np.repeat(found.values_ms, found.counts)
    assert len(kept) == len(latencies_ms)
    # Nothing is finer than a nanosecond.
    assert np.allclose(kept, np.sort(latencies_ms), rtol=0.0005, atol=1 / NS_PER_MS)


def test_a_percentile_is_of_nearest_rank() -> None:
    found = Histogram.of(np.arange(1.0, 1001.0))
    for percent, expected_ms in ((0.05, 1), (50, 500), (99, 990), (99.9, 999), (100, 1000)):
        assert found.percentile_ms(percent) == pytest.approx(expected_ms, rel=0.0005)


def test_parts_are_counted_together() -> None:
    whole = np.random.default_rng(0).lognormal(2, 1, 5000)
    parts = [Histogram.of(part) for part in np.array_split(whole, 7)]
    together, at_once = Histogram.together(parts), Histogram.of(whole)
    assert together.indices.tolist() == at_once.indices.tolist()
    assert together.counts.tolist() == at_once.counts.tolist()
    assert Histogram.together([]).count == 0


def test_what_took_longer_than_an_hour_counts_as_an_hour() -> None:
    assert Histogram.of(np.array([5 * HOUR_MS])).percentile_ms(100) == pytest.approx(HOUR_MS, 1e-3)


def damaged() -> list[str]:
    """Texts that are no such histogram."""
    good = base64.b64decode(Histogram.of(np.array([1.0])).encode())
    return ["", "x", "AAAA", *(base64.b64encode(one).decode() for one in (
        good[:-3], b"\0" + good[1:], good[:12] + b"\xff\xff" + good[14:],
        good[:8] + zlib.compress(b"short"),
    ))]  # fmt: skip


@pytest.mark.parametrize("text", damaged())
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HDR histogram"):
        Histogram.decode(text)
