"""Shapes that people write become points in time."""

from __future__ import annotations

import pytest

from inferctl.bench.shape import points_of
from inferctl.errors import UsageError


def test_shapes_begin_after_the_warm_up() -> None:
    """Which is at their first share; named ones are as long as the measurement."""
    assert points_of(None, 2.0, 10.0) == ""
    assert points_of("ramp", 2.0, 10.0) == "0.0:0.0,2.0:0.0,12.0:1.0"
    assert points_of("soak", 2.0, 10.0) == "0.0:1.0,2.0:1.0"
    assert points_of("spike", 0.0, 10.0).endswith("5.0:0.2,5.0:1.0,6.0:1.0,6.0:0.2")
    assert points_of("0s=10%,30=100%", 1.0, 10.0) == "0.0:0.1,1.0:0.1,31.0:1.0"


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ("hill", "no point of a shape; write 0s=10%,30s=100%, or one of ramp, spike, soak"),
        ("1s=10%", "no shape; times ascend from 0s"),
        ("0s=10%,9s=20%,8s=10%", "times ascend"),
        ("0s=0%,9s=0%", "some share is not 0 %"),
    ],
)
def test_what_is_no_shape(shape: str, sentence: str) -> None:
    """Said with an example."""
    with pytest.raises(UsageError, match=sentence):
        points_of(shape, 0.0, 10.0)
