"""What the system lets the group have that this process is in: memory and CPU, of cgroups v1 and
v2. In a container its own group is the root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from inferctl.proc import PROC, text_of

CGROUPS = Path("/sys/fs/cgroup")
# An old kernel's way of saying that there is no limit of memory is a number somewhat above this.
NO_LIMIT_BYTES = 1 << 60


def container_limit_bytes(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """The limit of memory; 0 when there is none."""
    texts = [
        text_of(folder / ("memory.limit_in_bytes" if is_v1 else "memory.max"))
        for folder, is_v1 in _groups("memory", proc, cgroups)
    ]
    found = [int(text) for text in texts if text.isdigit()]
    return min((limit for limit in found if limit < NO_LIMIT_BYTES), default=0)


def container_cores(proc: Path = PROC, cgroups: Path = CGROUPS) -> float:
    """The quota of CPU, in cores; 0 when there is none."""
    found = []
    for folder, is_v1 in _groups("cpu", proc, cgroups):
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if is_v1 else ("cpu.max",)
        words = " ".join(text_of(folder / name) for name in names).split()
        if len(words) == 2 and all(word.isdigit() and int(word) for word in words):
            found.append(int(words[0]) / int(words[1]))
    return min(found, default=0)


def _groups(controller: str, proc: Path, cgroups: Path) -> Iterator[tuple[Path, bool]]:
    """The folder of the group and of those around it; whether they are of v1."""
    for line in text_of(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            yield folder, bool(controllers)
            if folder == root:
                break
