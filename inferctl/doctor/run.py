"""Looks at everything, one subject after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inferctl.device import is_strict, numbers_of
from inferctl.doctor.findings import Finding
from inferctl.doctor.gpu import gpu_findings, look
from inferctl.doctor.models import OnBytes, model_findings
from inferctl.doctor.port import port_findings
from inferctl.doctor.probing import Probe
from inferctl.doctor.runtime import (
    extra_findings,
    installed,
    python_findings,
    runtime_findings,
    wheel_findings,
)
from inferctl.doctor.service import agreement_findings, limit_findings, load
from inferctl.doctor.system import (
    core_findings,
    descriptor_findings,
    disk_findings,
    memory_findings,
)
from inferctl.settings import Settings


@dataclass(frozen=True, slots=True)
class Examination:
    """What `inferctl doctor` was told: settings' flags, a TOML file, whether to skip hashes."""

    flags: dict[str, Any] = field(default_factory=dict)
    config: Path | None = None
    is_quick: bool = False


def examine(
    asked: Examination,
    on_bytes: OnBytes = lambda done, whole: None,
    start_probe: Callable[[], Probe] = Probe,
) -> Iterator[Finding]:
    """Every finding, in the order in which one is read. Raises nothing: what fails is a finding."""
    probe = start_probe()
    loaded, told = load(asked.flags, asked.config)
    own = loaded.settings
    # Before there are threads: a child is forked to count what may be started.
    limits = list(limit_findings(own))
    versions = installed()
    yield from python_findings()
    yield from wheel_findings(versions)
    probed = probe.result()
    yield from runtime_findings(probed, versions)
    yield from gpu_findings(_device(own), probed, look())
    yield from core_findings()
    yield from memory_findings(own.server)
    yield from descriptor_findings(own.server)
    yield from disk_findings(own)
    yield from told
    yield from agreement_findings(own)
    yield from model_findings(
        own, probed.opset, by_hash=not asked.is_quick, is_named="models_dir" in loaded.origins,
        on_bytes=on_bytes,
    )  # fmt: skip
    yield from limits
    yield from port_findings(own.server)
    yield from extra_findings(versions)


def _device(own: Settings) -> str:
    """The most that any model asks for."""
    asked = {own.runtime.device, *(own.for_model(name).runtime.device for name in own.models)}
    strict = max(filter(is_strict, asked), key=lambda one: max(numbers_of(one)), default="")
    return strict or ("auto" if "auto" in asked else "cpu")
