"""What to send, to whom and for how long."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from inferctl.bench.measurement import Load
from inferctl.errors import UsageError

# `native` is the task's JSON, `raw` an image's bytes or a text as they are, `v2` the Open Inference
# Protocol with binary tensors and `v2-json` without.
Dialect: TypeAlias = Literal["native", "raw", "v2", "v2-json"]

# More requests of an open loop than this are rarely under way at once, and then they wait.
MAX_CONNECTIONS = 4096
# A duration is measured in so many windows at least: fewer cannot agree.
LEAST_WINDOWS = 3

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Source:
    """Where the inputs come from: `data`, else made-up ones; images of `size_pixels` (width and
    height), texts of `words`, each None for what is usual.
    """

    data: Path | None = None
    dialect: Dialect = "native"
    size_pixels: tuple[int, int] | None = None
    words: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One measurement: `windows` of `window_s` after the warm-up, fewer if these agree before and
    `until_stable`.

    `model` None means the only one served, `processes` None as many as the generator needs, `ca`
    None the system's certificates. `connections` is the most that an open loop opens. `replay` has
    the times of a load that is one, in seconds.
    """

    url: str
    model: str | None
    load: Load
    windows: int
    window_s: float
    warmup_s: float
    until_stable: bool = False
    source: Source = field(default_factory=Source)
    processes: int | None = None
    connections: int = MAX_CONNECTIONS
    replay: NDArray[np.float64] | None = None
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Inputs:
    """The bodies that are sent in turn: `count` of the `available` ones, `mean_bytes` each.

    `dialect` and `path` are how and where they are posted; null in reports from before they were
    kept.
    """

    source: str
    count: int
    available: int
    mean_bytes: float
    dialect: Dialect | None = None
    path: str | None = None


def parse_duration(text: str) -> float:
    """Read `10s`, `1m30s`, `2h`, `2.5s` or bare seconds. Returns seconds; raises UsageError."""
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise UsageError(f"{text!r} is no duration", hint="write 10s, 1m30s or 2h")
    hours, minutes, seconds = match.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def parse_size(text: str) -> tuple[int, int]:
    """Read `640x480`: width and height in pixels. Raises UsageError."""
    match = _SIZE.fullmatch(text)
    if match is None or "0" in match.groups():
        raise UsageError(f"{text!r} is no size", hint="write 640x480")
    return int(match[1]), int(match[2])


def parse_processes(text: str) -> int | None:
    """Read a number of processes, or `auto`, which is None. Raises UsageError."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) == 0:
        raise UsageError(f"{text!r} is no number of processes", hint="write auto, 1, 2 …")
    return int(text)


def split_duration(duration_s: float, window_s: float) -> tuple[int, float]:
    """The number and length of the windows of a measurement of `duration_s`, all of one length:
    about `window_s`, but LEAST_WINDOWS at least.
    """
    windows = max(round(duration_s / window_s), LEAST_WINDOWS)
    return windows, duration_s / windows


def check_data(data: Path | None) -> None:
    """Raise UsageError when `data` does not exist, before anything is started for it."""
    if data is not None and not data.exists():
        raise UsageError(
            "no such folder of images or file of texts", where=str(data), hint="check --data"
        )
