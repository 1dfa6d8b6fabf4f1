"""What surrounds a measurement: the machine, the versions, the commit, the server's own word."""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from inferctl.bench.exposition import Scrape
from inferctl.bench.report.record import Machine, Service
from inferctl.bench.target import Target, health, scrape
from inferctl.cores import available_cores
from inferctl.proc import PROC

GIT_LIMIT_S = 5
KIB = 1024


def this_machine(proc: Path = PROC) -> Machine:
    """The machine that this runs on; `proc` is where the system describes itself."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", _read(proc / "cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", _read(proc / "meminfo"), re.MULTILINE)
    return Machine(
        cores=available_cores(),
        cpu=cpu[1].strip() if cpu else None,
        memory_bytes=int(memory[1]) * KIB if memory else None,
        platform=platform.platform(),
        python=platform.python_version(),
    )


def locust_version() -> str | None:
    """That of the installed one, without importing it."""
    try:
        return metadata.version("locust")
    except metadata.PackageNotFoundError:
        return None


def commit_of(folder: Path) -> str | None:
    """The commit of a checkout, and whether it has changes; None of what is none."""
    head = _git(folder, "rev-parse", "HEAD")
    if not head:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head + ("+changes" if changes else "")


def read_service(target: Target) -> Service:
    """Ask the server for itself; what it does not say, or nobody answers, stays unknown."""
    try:
        said: Any = orjson.loads(health(target) or b"{}")
    except orjson.JSONDecodeError:
        said = {}
    counted = scrape(target) or {}
    return service_of(said if isinstance(said, dict) else {}, counted, target.model.name)


def service_of(said: Mapping[str, Any], counted: Scrape, model: str) -> Service:
    """What `/health` and `/metrics` say of the server and of one model."""
    info = _labels(counted, "inferctl_model_info", model)
    build = _labels(counted, "inferctl_build_info", None)
    device = said.get("device")
    warnings = said.get("warnings")
    workers = said.get("workers")
    return Service(
        inferctl_version=build.get("version"),
        onnxruntime_version=build.get("onnxruntime"),
        precision=info.get("precision"),
        device=info.get("device"),
        device_name=str(device["name"]) if isinstance(device, dict) and "name" in device else None,
        workers=workers if isinstance(workers, int) else None,
        instances=_gauge(counted, "inferctl_instances", model),
        max_batch_rows=_gauge(counted, "inferctl_max_batch_rows", model),
        slots=_gauge(counted, "inferctl_slots", model),
        warnings=[str(one) for one in warnings] if isinstance(warnings, list) else [],
    )


def _labels(counted: Scrape, name: str, model: str | None) -> dict[str, str]:
    """The labels of the last series of a name, of a model if one is named."""
    found = [dict(pairs) for series, pairs in counted if series == name]
    return next((one for one in reversed(found) if model in (None, one.get("model"))), {})


def _gauge(counted: Scrape, name: str, model: str) -> int | None:
    values = [
        value
        for (series, pairs), value in counted.items()
        if series == name and ("model", model) in pairs
    ]
    return int(values[-1]) if values else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None when it is not installed, slow, or does not know the folder."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, text=True, timeout=GIT_LIMIT_S, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
