"""What a service does where memory of the device is short: little of its own, or none left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pynvml

from benchmarks.gpu.models import Bundle
from benchmarks.gpu.service import Served, check_answers, load_with, served, ways
from inferctl.errors import BenchError

MIB = 1024 * 1024
CLIENTS = 256
# What the runs of large batches do not all fit into. Texts run without graphs, two batches side by
# side in one session: each fits at the start, where it is alone.
LITTLE_BYTES = {"vision": (500_000_000,), "text": (900_000_000, 650_000_000, 450_000_000)}
# What another process leaves of a device that it fills.
LEFT_BYTES = 64 * MIB
FILL = """
import sys
from inferctl.engine.cuda import open_cuda
cuda, held = open_cuda(0), []
while (size := min(cuda.free_bytes() - {left}, 1 << 34)) > 1 << 22:
    held.append(cuda.device_memory(size))
print("full", flush=True)
sys.stdin.read()
"""


def taken(one: Served) -> str:
    """What the service says that its model takes, and what NVML counts for its processes, on the
    first device."""
    models = httpx2.get(f"{one.url}/health", trust_env=False).json()["models"]
    model = models[one.bundle.name]
    pids = {process.pid for process in one.tree.processes()}
    pynvml.nvmlInit()
    device = pynvml.nvmlDeviceGetHandleByIndex(0)
    seen_bytes = sum(
        process.usedGpuMemory or 0
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device)
        if process.pid in pids
    )
    return (
        f"/health says {model['device_bytes'] / MIB:.0f} MiB of {model['device']}, NVML "
        f"{seen_bytes / MIB:.0f}; nodes on the CPU: {', '.join(model['nodes_on_cpu']) or 'none'}"
    )


def in_little(bundle: Bundle, devices: int, limit_bytes: int, seconds: int) -> str:
    """Load on a service whose sessions may take so little each, and how often it had to halve.

    A service that does not start with it is told of; raises BenchError for a request that fails.
    """
    name = f"{bundle.name} {bundle.precision} in {limit_bytes // 10**6} MB"
    runtime = {"memory_limit_bytes": limit_bytes}
    if bundle.base == "text":
        runtime["cuda_graphs"] = 0
    try:
        with served(bundle, devices, **runtime) as one:
            furthest = check_answers(one)
            outcome = load_with(one, ways(bundle)[0], CLIENTS, seconds)
            told = [line for line in one.said() if "out of memory; batches" in line]
    except BenchError as error:
        if "at its start" not in error.what:
            raise
        return f"{name}: {error.what}"
    last = told[-1].partition("; ")[2].strip() if told else "never"
    return (
        f"{name}: {outcome.rows_per_s:,.0f} rows/s in batches of {outcome.batch_rows:.0f}, scores "
        f"at most {furthest:.4f} from the CPU's, none failed; out of memory {len(told)} times: "
        f"{last}"
    )


def crowded(one: Served, seconds: int) -> str:
    """Load on a service while another process has all the rest of the device, and what becomes of
    one more service. Raises BenchError when a request fails."""
    with _filled():
        outcome = load_with(one, ways(one.bundle)[0], CLIENTS, seconds)
        try:
            with served(one.bundle):
                then = "starts all the same"
        except BenchError as error:
            then = error.what
    return (
        f"all but {LEFT_BYTES // MIB} MiB of the device taken by another process: "
        f"{outcome.rows_per_s:,.0f} rows/s, none failed; one more service: {then}"
    )


@contextmanager
def _filled() -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", FILL.format(left=LEFT_BYTES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
    )
    assert process.stdout is not None
    try:
        if process.stdout.readline().strip() != b"full":
            raise BenchError("the device was not filled", where="the process that should")
        yield
    finally:
        process.communicate()
