"""What was read of the GPUs, by our names or by those of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from inferctl.arena.board import Gpu
from inferctl.arena.metric import Metric
from inferctl.server.text import Text


def write_gpus(
    text: Text, metrics: Mapping[str, Metric], gpus: Sequence[Gpu], labels: Callable[[Gpu], str]
) -> None:
    """The series of these metrics, each of a figure; nothing of one that no GPU tells."""
    for figure, metric in metrics.items():
        told = [(gpu, value) for gpu in gpus if (value := getattr(gpu, figure)) is not None]
        if told:
            text.begin(metric)
        for gpu, value in told:
            text.add(metric.name, labels(gpu), value)
