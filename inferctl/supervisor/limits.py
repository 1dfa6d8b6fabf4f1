"""What the system lets a service have; too little is said before anything is loaded."""

from __future__ import annotations

import os
import resource
import threading

from inferctl.errors import StartError

MIB = 1024 * 1024
# A process' own files, sockets and arenas, and a few connections.
NEEDED_DESCRIPTORS = 128
# What onnxruntime and its libraries take before there is a model; most of it is never touched.
NEEDED_ADDRESS_SPACE = 512 * MIB
# Processes and threads of a service, and beside them those of each worker.
NEEDED_TASKS = 16
TASKS_OF_WORKER = 4
# An exit code says how many there were.
MAX_TRIED = 200


def check_limits() -> None:
    """Before what is large is imported. Raises StartError naming a limit that is too low."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if resource.RLIM_INFINITY != files < NEEDED_DESCRIPTORS:
        raise StartError(
            f"a process may have {files} files open, and needs {NEEDED_DESCRIPTORS}",
            where="RLIMIT_NOFILE",
            hint=f"ulimit -n {NEEDED_DESCRIPTORS}, or more",
        )
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if resource.RLIM_INFINITY != space < NEEDED_ADDRESS_SPACE:
        raise StartError(
            f"a process may have {space // MIB} MiB of address space, and needs "
            f"{NEEDED_ADDRESS_SPACE // MIB} MiB and room for its models",
            where="RLIMIT_AS",
            hint="ulimit -v unlimited",
        )


def check_tasks(workers: int, cores: int) -> None:
    """Try to have as many threads as the service will. Raises StartError when there are fewer.

    Nothing tells beforehand: the limit counts what else the user runs, and a container has another.
    """
    needed = min(MAX_TRIED, NEEDED_TASKS + cores + workers * TASKS_OF_WORKER)
    if (found := _startable(needed)) < needed:
        raise StartError(
            f"only {found} more processes and threads can be started, and about {needed} are "
            "needed",
            where="RLIMIT_NPROC, or the pids limit of the container",
            hint="raise it (ulimit -u), or take fewer --workers",
        )


def _startable(wanted: int) -> int:
    """How many threads could be started; tried by a child, which leaves nothing of them here."""
    try:
        pid = os.fork()
    except OSError:
        return 0
    if pid:
        return 1 + os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    started = 0
    end = threading.Event()
    try:
        while started < wanted - 1:
            threading.Thread(target=end.wait, daemon=True).start()
            started += 1
    finally:
        os._exit(started)
