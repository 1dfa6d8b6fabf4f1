"""Asks `probe.py`, which may crash or hang, and keeps what it said before."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inferctl.cuda.driver import NOT_ASKED, Driver
from inferctl.supervisor.child import describe_exit

COMMAND = (sys.executable, "-P", "-m", "inferctl.doctor.probe")
# As the engine's session has them, which is not imported here: it imports onnxruntime.
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
# CUDA may take seconds to begin.
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Probed:
    """What onnxruntime and CUDA said of themselves; `ended` is why no more was heard.

    `missing` are the libraries that CUDA's provider lacks, besides the driver's; None if that is
    not known. `session` is why CUDA could not run a graph: empty if it could, None if it was not
    tried.
    """

    version: str = ""
    cuda: str = ""
    providers: tuple[str, ...] = ()
    opset: int = 0
    missing: tuple[str, ...] | None = None
    driver: Driver = NOT_ASKED
    session: str | None = None
    ended: str = ""


class Probe:
    """Runs beside what else is looked at, from when it is made."""

    def __init__(self, command: Sequence[str] = COMMAND, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, encoding="utf-8", errors="replace",
        )  # fmt: skip

    def result(self) -> Probed:
        """Wait for it; raises nothing."""
        ended = ""
        try:
            told, complaints = self._child.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired:
            self._child.kill()
            told, complaints = self._child.communicate()
            ended = f"it did not end within {self._timeout_s:g} s"
        if not ended and self._child.returncode:
            # What Python says of an exception is in its last line.
            last = complaints.strip().rpartition("\n")[2]
            is_killed = self._child.returncode < 0
            ended = describe_exit(self._child.returncode) if is_killed or not last else last
        found: dict[str, Any] = {"ended": ended}
        for line in told.splitlines():
            found |= json.loads(line)
        found["driver"] = Driver(**found.get("driver", {}))
        for key in {"providers", "missing"} & found.keys():
            found[key] = tuple(found[key])
        return Probed(**found)
