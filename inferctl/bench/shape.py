"""How a load changes with time: what people write becomes the points that the generator reads."""

from __future__ import annotations

import re

from inferctl.errors import UsageError

# Times as shares of the whole, and the share of the load then; linear between.
NAMED = {
    "ramp": ((0.0, 0.0), (1.0, 1.0)),
    "spike": ((0.0, 0.2), (0.5, 0.2), (0.5, 1.0), (0.6, 1.0), (0.6, 0.2)),
    "soak": ((0.0, 1.0),),
}
_POINT = re.compile(r"(\d+(?:\.\d+)?)s?=(\d+(?:\.\d+)?)%")


def points_of(shape: str | None, warmup_s: float, duration_s: float) -> str:
    """What LOADTEST_SHAPE is for a `--shape`: its time begins after the warm-up, which is at the
    first share. Empty without a shape. Raises UsageError for what is none.
    """
    if shape is None:
        return ""
    if shape in NAMED:
        points = [(time * duration_s, share) for time, share in NAMED[shape]]
    else:
        points = [_point(part) for part in shape.split(",")]
    times = [time for time, _ in points]
    if times[0] != 0 or times != sorted(times) or not any(share for _, share in points):
        raise UsageError(
            f"{shape!r} is no shape", hint="times ascend from 0s, and some share is not 0 %"
        )
    moved = [(0.0, points[0][1]), *((warmup_s + time, share) for time, share in points)]
    return ",".join(f"{time!r}:{share!r}" for time, share in moved)


def _point(text: str) -> tuple[float, float]:
    match = _POINT.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text!r} is no point of a shape",
            hint=f"write 0s=10%,30s=100%, or one of {', '.join(NAMED)}",
        )
    return float(match[1]), float(match[2]) / 100
