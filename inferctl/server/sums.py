"""What the processes counted, summed over all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
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
    """What was counted for a version, at these places; one that is not `is_taken` is not in memory
    any more."""

    model: str
    label: str
    is_taken: bool
    sums: Sums
    places: tuple[int, ...]


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
    of_labels: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, owner in places.items():
        of_labels[owner.model, owner.label].append(place)
    found = []
    for (model, label), own in sorted(of_labels.items()):
        cells = [_sum(block.at(place) for block in ledger.blocks) for place in own]
        sums = Sums(reduce(_together, cells).tolist())
        is_taken = any(places[place].is_taken for place in own)
        found.append(OfVersion(model, label, is_taken, sums, tuple(own)))
    return found


def _sum(views: Iterable[memoryview[float]]) -> Cells:
    found: Cells = np.sum([np.asarray(view) for view in views], axis=0)
    return found


def _together(one: Cells, other: Cells) -> Cells:
    """What two places of a version say; usually it has one."""
    both: Cells = one + other
    both[LARGEST] = np.maximum(one, other)[LARGEST]
    return both
