"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

from inferctl.container import CGROUPS, PROC, container_cores


def available_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Cores of the process's affinity, cut by the quota of its container; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = container_cores(proc, cgroups) or cores or 1
    return max(1, min(cores or 1, int(quota)))
