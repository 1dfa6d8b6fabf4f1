"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path

from inferctl.container import CGROUPS, container_cores
from inferctl.proc import PROC


def affinity_cores() -> int:
    """Cores that this process may run on; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Cores of the process's affinity, cut by the quota of its container; at least 1."""
    cores = affinity_cores()
    quota = container_cores(proc, cgroups) or cores
    return max(1, min(cores, int(quota)))
