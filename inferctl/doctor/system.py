"""What the machine, or the container, lets the service have: cores, memory, descriptors, disks."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from inferctl.container import CGROUPS, container_cores, container_limit_bytes
from inferctl.cores import affinity_cores, available_cores
from inferctl.doctor.findings import Finding, Subject
from inferctl.engine.room import left_for_process
from inferctl.proc import PROC
from inferctl.server.connections import OTHER_DESCRIPTORS
from inferctl.settings import ServerSettings, Settings
from inferctl.supervisor.contradictions import worker_count

system = Subject("system")

GIB = 1024**3
# With less there is no room for a model, or soon none for a log.
LOW_MEMORY_BYTES = GIB // 2
LOW_DISK_BYTES = GIB
STDOUT = "-"


def core_findings(proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[Finding]:
    """Cores of the machine, of this process, and of its container."""
    there = os.cpu_count() or 1
    mine = affinity_cores()
    quota = container_cores(proc, cgroups)
    limited = f"; the container's quota is {quota:g} cores" if quota else "; no quota"
    finding = f"{available_cores(proc, cgroups)} are used: affinity {mine} of {there}{limited}"
    if 0 < quota < 1:
        yield system.warn("cores", finding, "give the container a core (docker run --cpus=1)")
    else:
        yield system.ok("cores", finding)


def memory_findings(
    server: ServerSettings, proc: Path = PROC, cgroups: Path = CGROUPS
) -> Iterator[Finding]:
    """What is left, and the limits of the container and of the settings."""
    left, container = left_for_process(proc), container_limit_bytes(proc, cgroups)
    bound = f"the container may have {_gib(container)}" if container else "no container's limit"
    if left is None:
        yield system.ok("memory", f"the system does not tell what is left; {bound}")
    elif left < LOW_MEMORY_BYTES or 0 < container < LOW_MEMORY_BYTES:
        yield system.warn(
            "memory", f"{_gib(left)} are left; {bound}",
            f"end other programs, or give the container more than {_gib(LOW_MEMORY_BYTES)}",
        )  # fmt: skip
    else:
        yield system.ok("memory", f"{_gib(left)} are left; {bound}")
    if 0 < container < server.memory_limit_bytes:
        yield system.warn(
            "memory limit",
            f"server.memory_limit_bytes is {_gib(server.memory_limit_bytes)}, and the container "
            f"is ended at {_gib(container)}",
            "server.memory_limit_bytes = 0 takes the container's",
        )  # fmt: skip


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"


def descriptor_findings(server: ServerSettings) -> Iterator[Finding]:
    """Open files and sockets, beside the connections that the settings allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    workers = worker_count(server, available_cores())
    shown = f"soft {_count(soft)}, hard {_count(hard)} for each process"
    needed = -(-server.max_connections // workers) + OTHER_DESCRIPTORS
    if resource.RLIM_INFINITY != hard < needed:
        yield system.warn(
            "descriptors",
            f"{shown}: {workers} workers cannot have server.max_connections = "
            f"{server.max_connections} open",
            f"ulimit -n {needed}, or more (systemd: LimitNOFILE; docker run --ulimit nofile), or "
            "lower server.max_connections",
        )  # fmt: skip
    else:
        yield system.ok("descriptors", f"{shown}; a worker needs {needed}, the soft one is raised")


def _count(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)


def disk_findings(own: Settings) -> Iterator[Finding]:
    """Room for models and for the request log, and whether that can be written."""
    yield from _room("models disk", Path(own.models_dir), "exports need room: free some")
    if own.logs.path == STDOUT:
        yield system.ok("request log", "goes to stdout")
        return
    log = Path(own.logs.path).absolute()
    there = _nearest(log)
    fix = "set logs.path to a file in a folder you may write to, or to -"
    if there.is_dir() == (there == log):
        yield system.fail("request log", f"{there} is not what {log} needs there", fix)
    elif not os.access(there, os.W_OK):
        yield system.fail("request log", f"{there} may not be written", fix)
    else:
        yield system.ok("request log", f"{log} can be written")
        if there == log and not log.is_file():  # a device, a pipe
            return
        yield from _room("log disk", log, "free some, or rotate the log: lines are dropped")


def _room(name: str, path: Path, fix: str) -> Iterator[Finding]:
    there = _nearest(path)
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        yield system.warn(name, f"cannot see it: {error.strerror} ({there})", f"check {path}")
        return
    finding = f"{_gib(free)} are free on the disk of {there}"
    yield system.judged("warn" if free < LOW_DISK_BYTES else "ok", name, finding, fix)


def _nearest(path: Path) -> Path:
    """It, or the innermost of the folders around it that is there."""
    whole = path.absolute()
    for folder in (whole, *whole.parents):
        if os.path.lexists(folder):
            return folder
    return Path("/")
