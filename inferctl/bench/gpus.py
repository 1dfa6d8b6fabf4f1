"""What a server's GPUs did between two scrapes of its metrics."""

from __future__ import annotations

from dataclasses import dataclass

from inferctl.bench.exposition import Scrape, having


@dataclass(frozen=True, slots=True)
class GpuFigures:
    """A GPU, by its number: the mean of the two scrapes, and the larger amount of memory."""

    gpu: str
    utilization_ratio: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    power_watts: float | None


def gpus_of(before: Scrape | None, after: Scrape | None) -> list[GpuFigures] | None:
    """Every GPU of the last scrape; None without any, or without two scrapes."""
    if before is None or after is None:
        return None
    scrapes = (before, after)

    def both(name: str, gpu: str) -> list[float]:
        return [
            value
            for scrape in scrapes
            for value in having(scrape, f"inferctl_gpu_{name}", {"gpu": gpu})
        ]

    def mean(name: str, gpu: str) -> float | None:
        values = both(name, gpu)
        return sum(values) / len(values) if values else None

    def most(name: str, gpu: str) -> int | None:
        return max(map(int, both(name, gpu)), default=None)

    gpus = {
        number: None
        for name, pairs in after
        if name.startswith("inferctl_gpu_") and (number := dict(pairs).get("gpu")) is not None
    }
    return [
        GpuFigures(
            gpu,
            utilization_ratio=mean("utilization_ratio", gpu),
            memory_used_bytes=most("memory_used_bytes", gpu),
            memory_total_bytes=most("memory_total_bytes", gpu),
            power_watts=mean("power_watts", gpu),
        )
        for gpu in gpus
    ] or None
