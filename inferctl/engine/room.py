"""Whether a model fits into the memory, before it is tried: the system would end a process."""

from __future__ import annotations

import resource
from pathlib import Path

from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, Manifest
from inferctl.errors import InsufficientMemory
from inferctl.proc import PAGE_BYTES, PROC

MIB = 1024 * 1024


def check_room(manifest: Manifest) -> None:
    """Raises InsufficientMemory when not even the weights fit beside what is there."""
    left_bytes = left_for_process(PROC)
    if left_bytes is not None:
        _check(manifest, _weights_bytes(manifest), left_bytes)


def check_device_room(
    manifest: Manifest, device: str, left_bytes: int, needed_bytes: int = 0
) -> None:
    """Raises InsufficientMemory when not even the weights fit into what is left on the device, or
    not what is known to be needed."""
    needed_bytes = max(needed_bytes, _weights_bytes(manifest))
    _check(manifest, needed_bytes, left_bytes, f" on {device}")


def _weights_bytes(manifest: Manifest) -> int:
    files = (manifest.files.get(name) for name in (GRAPH_FILE, DATA_FILE))
    return sum(file.bytes for file in files if file)


def _check(manifest: Manifest, needed_bytes: int, left_bytes: int, where: str = "") -> None:
    if needed_bytes > left_bytes:
        raise InsufficientMemory(
            f"{manifest.name} version {manifest.version} takes {needed_bytes // MIB} MiB{where}, "
            f"and {left_bytes // MIB} MiB are left"
        )


def left_for_process(proc: Path) -> int | None:
    """Bytes that this process can have still; None where the system does not tell."""
    try:
        fields = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
        left_bytes = int(fields["MemAvailable"].split()[0]) * 1024
        mapped_pages = int((proc / "self" / "statm").read_text().split()[0])
    except (OSError, KeyError, ValueError):
        return None
    limit_bytes, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit_bytes == resource.RLIM_INFINITY:
        return left_bytes
    return max(0, min(left_bytes, limit_bytes - mapped_pages * PAGE_BYTES))
