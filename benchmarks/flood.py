"""A crowd: wrk's connections, each of which asks at its own pace, and what they were answered."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.heavy import BODY
from inferctl.errors import BenchError, UsageError

SCRIPT = Path(__file__).with_name("flood.lua")
MARK = "FLOOD "
TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many connections, each with a pause of so long (half of it to one and a half) after an
    answer. Its requests have `body_bytes` and name a deadline of `timeout_ms`."""

    connections: int
    pause_ms: float = 0.0
    body_bytes: int = 10_000
    timeout_ms: int = 5000


@dataclass(frozen=True, slots=True)
class Flood:
    """`shed_…` are of refusals as the clients saw them; `moments` is how many different values
    their `Retry-After` had, and `untold` how many had none."""

    seconds: float
    statuses: dict[int, int]
    shed_p50_ms: float
    shed_p99_ms: float
    p50_ms: float
    p99_ms: float
    errors: int
    untold: int
    moments: int

    @property
    def offered(self) -> float:
        """Requests answered per second, whatever the answer."""
        return sum(self.statuses.values()) / self.seconds

    @property
    def goodput(self) -> float:
        """Those that were answered with 200, per second."""
        return self.statuses.get(200, 0) / self.seconds

    @property
    def in_time(self) -> float:
        """The share of those that were let in and answered before their deadline."""
        good, late = self.statuses.get(200, 0), self.statuses.get(504, 0)
        return good / (good + late) if good else 0.0


def pinned(core: int) -> list[str]:
    """What a command begins with that runs on one core."""
    return ["taskset", "--cpu-list", str(core)]


class Flooding:
    """wrk while it runs, on one core."""

    def __init__(self, url: str, crowd: Crowd, seconds: float, core: int) -> None:
        """Begin. Raises UsageError without wrk."""
        if shutil.which("wrk") is None:
            raise UsageError("wrk is not installed", hint="apt-get install wrk")
        own = {
            "BODY": BODY.decode(),
            "BODY_BYTES": str(crowd.body_bytes),
            "TIMEOUT_MS": str(crowd.timeout_ms),
            "PAUSE_MS": str(crowd.pause_ms),
            "CONNECTIONS": str(crowd.connections),
        }
        command = [*pinned(core), "wrk", "-t", "1", "-c", str(crowd.connections)]
        command += ["-d", f"{seconds:g}s", "--timeout", f"{TIMEOUT_S}s", "-s", str(SCRIPT), url]
        self._process = subprocess.Popen(
            command, env={**os.environ, **own}, stdout=subprocess.PIPE, text=True
        )

    def result(self) -> Flood:
        """Wait for its end. Raises BenchError when it failed."""
        output, _ = self._process.communicate()
        lines = [line for line in output.splitlines() if line.startswith(MARK)]
        if self._process.returncode or not lines:
            raise BenchError(f"wrk failed: {output.strip()[:200]}")
        return parse_flood(lines[-1])

    def stop(self) -> None:
        """End it before its time, if it runs still."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def parse_flood(line: str) -> Flood:
    """The script's line."""
    found: dict[str, Any] = json.loads(line.removeprefix(MARK))
    statuses = {int(status): count for status, count in found.pop("statuses").items()}
    latencies = {
        name.replace("_us", "_ms"): value / 1000
        for name, value in found.items()
        if name.endswith("_us")
    }
    rest = {name: value for name, value in found.items() if not name.endswith("_us")}
    return Flood(statuses=statuses, **latencies, **rest)
