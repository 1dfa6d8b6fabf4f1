"""When the requests of a recorded request log came in, so that others may come in like them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

from inferctl.errors import UsageError


def read_log(log: Path, model: str | None = None) -> NDArray[np.float64]:
    """The seconds at which the predictions of a log came in, ascending; only those for `model`.

    A line says when a request was answered and how long it took: it came in that much earlier, to
    a millisecond. Raises UsageError when the log cannot be read or has fewer than two of them.
    """
    try:
        lines = log.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the log: {error.strerror}", where=str(log)) from None
    times = [time for line in lines if (time := _came_in_s(line, model)) is not None]
    if len(times) < 2:
        of = f" for {model}" if model else ""
        raise UsageError(
            f"no two predictions{of} in this log", where=str(log), hint="check --replay"
        )
    return np.sort(np.array(times))


def mean_rate_per_s(times_s: NDArray[np.float64]) -> float:
    """Requests per second of a log; those that came in within a millisecond count as one each."""
    return float((len(times_s) - 1) / max(times_s[-1] - times_s[0], 1e-3))


def write_arrivals(times_s: NDArray[np.float64], rate_per_s: float | None, file: Path) -> None:
    """Write them for the generator, faster or slower so that the mean rate is `rate_per_s`."""
    pace = 1.0 if rate_per_s is None else mean_rate_per_s(times_s) / rate_per_s
    ((times_s - times_s[0]) * pace).tofile(file)


def _came_in_s(line: bytes, model: str | None) -> float | None:
    """None for what is no prediction: a scrape, another model, a line that was cut."""
    try:
        entry = orjson.loads(line)
        if entry["route"] != "predict" or (model is not None and entry["model"] != model):
            return None
        answered_s = datetime.fromisoformat(entry["time"]).timestamp()
        return answered_s - float(entry["total_ms"]) / 1000
    except (ValueError, KeyError, TypeError):
        return None
