"""What the processes counted, summed over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inferctl.arena.ledger import Ledger, cells_of
from inferctl.arena.metric import Metric
from inferctl.arena.metrics import METRICS, metric_of
from inferctl.arena.places import Place

# The cells of a place of which several places of a version make the largest, and not the sum.
LARGEST = [cell for metric in METRICS if metric.of_model == "largest" for cell in cells_of(metric)]

Cells = npt.NDArray[np.float64]


class Sums:
    """Of one version, or of what belongs to none."""

    def __init__(self, cells: Sequence[float]) -> None:
        self._cells = cells

    def of(self, metric: Metric) -> Sequence[float]:
        """Every cell of a metric, in the order of its values."""
        own = cells_of(metric)
        return self._cells[own.start : own.stop]

    def total(self, name: str, value: str = "") -> float:
        """A counter or gauge."""
        metric = metric_of(name)
        return self.of(metric)[metric.values.index(value)]

    def histogram(self, name: str) -> Sequence[float]:
        """The counts of a histogram's buckets, of what is above them, and its sum."""
        return self.of(metric_of(name))


class OfVersion(NamedTuple):
    """What was counted for a version; one that is not `is_taken` is not in memory any more."""

    model: str
    label: str
    is_taken: bool
    sums: Sums


def of_service(ledger: Ledger) -> Sums:
    """What belongs to no model."""
    return Sums(_sum(block.own() for block in ledger.blocks).tolist())


def of_versions(ledger: Ledger) -> list[OfVersion]:
    """What was counted for each version, of each model, all of it of one moment."""
    return ledger.of_one_moment(lambda places: _by_version(ledger, places))


def of_version(ledger: Ledger, model: str, version: int) -> Sums:
    """What was counted for one that is in memory."""

    def read(places: Mapping[int, Place]) -> Sums:
        own = {
            place: owner
            for place, owner in places.items()
            if (owner.model, owner.version) == (model, version)
        }
        (found,) = _by_version(ledger, own)
        return found.sums

    return ledger.of_one_moment(read)


def _by_version(ledger: Ledger, places: Mapping[int, Place]) -> list[OfVersion]:
    cells: dict[tuple[str, str], Cells] = {}
    taken = set()
    for place, owner in places.items():
        key = owner.model, owner.label
        of_place = _sum(block.at(place) for block in ledger.blocks)
        cells[key] = _together(cells[key], of_place) if key in cells else of_place
        if owner.is_taken:
            taken.add(key)
    return [OfVersion(*key, key in taken, Sums(cells[key].tolist())) for key in sorted(cells)]


def _sum(views: Iterable[memoryview[float]]) -> Cells:
    found: Cells = np.sum([np.asarray(view) for view in views], axis=0)
    return found


def _together(one: Cells, other: Cells) -> Cells:
    """What two places of a version say; usually it has one."""
    both: Cells = one + other
    both[LARGEST] = np.maximum(one, other)[LARGEST]
    return both
