"""Says in the log where the versions run, and why there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import structlog

from inferctl.arena.placed import Placed
from inferctl.arena.spec import ModelSpec
from inferctl.cautions import of_fallback

log = structlog.get_logger()


def log_placed(specs: Mapping[int, ModelSpec], placed: Mapping[int, Placed]) -> None:
    """A line for all that are at the same place for the same reason; `specs` are by place."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    known = []
    for place, spec in specs.items():
        if (one := placed.get(place)) is None:
            continue
        known.append((spec.name, one))
        if one.on_cuda or not one.missing:
            device = spec.settings.runtime.device
            alike[one.device, device].append(f"{spec.name} v{spec.manifest.version}")
        if one.nodes_on_cpu:
            log.warning(
                "runs on the CPU in part", model=spec.name, version=spec.manifest.version,
                nodes=", ".join(one.nodes_on_cpu),
            )  # fmt: skip
    for (device, asked), names in alike.items():
        log.info("placed", device=device, models=", ".join(names), why=f"runtime.device = {asked}")
    for caution in of_fallback(known, len({spec.name for spec in specs.values()})):
        log.warning(str(caution))
