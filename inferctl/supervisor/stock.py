"""The versions in memory: the place of each, and which processes have it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain

from inferctl.arena.ledger import Ledger
from inferctl.arena.places import EARLIER, PLACES
from inferctl.arena.spec import ModelSpec
from inferctl.bundles.repository import Bundle
from inferctl.errors import StartError
from inferctl.settings import ModelSettings
from inferctl.supervisor.specs import model_spec

# Versions of a model that are gone and have their series still, of however many places each. What
# those before them counted is added up.
KEPT_VERSIONS = 4


class Stock:
    """`of_engine` and `of_workers` are what those that are started now begin with, by place."""

    def __init__(self, ledger: Ledger, workers: int) -> None:
        self._ledger = ledger
        self._workers = workers
        self._taken: dict[int, ModelSpec] = {}
        # The places that versions have left, in that order.
        self._left: list[int] = []
        self.of_engine: dict[int, ModelSpec] = {}
        self.of_workers: dict[int, ModelSpec] = {}

    def take(self, bundle: Bundle, own: ModelSettings) -> ModelSpec:
        """A place for a version, and its arena. Raises StartError when there is none."""
        name, version = bundle.manifest.name, bundle.manifest.version
        place = self._free_place(name, version)
        spec = model_spec(place, bundle, own, self._workers)
        self._ledger.give_place(place, name, version)
        if place in self._left:
            self._left.remove(place)
        self._taken[place] = spec
        return spec

    def _free_place(self, name: str, version: int) -> int:
        """One whose counters are the version's own, or nobody's; or that of a model that is gone,
        which are forgotten."""
        known = self._ledger.places()
        present = {spec.name for spec in self._taken.values()}
        own = (p for p in self._left if (known[p].model, known[p].version) == (name, version))
        new = self._blank()[1:]  # and one to add up in
        gone = (p for p in self._left if known[p].model not in present)
        place = next(chain(own, new, self._made_free(), gone), None)
        if place is None:
            raise StartError(
                f"more than {PLACES - 1} versions in memory", hint="serve fewer versions at a time"
            )
        return place

    def _blank(self) -> list[int]:
        known = self._ledger.places()
        return [place for place in range(PLACES) if place not in known]

    def _made_free(self) -> Iterator[int]:
        """Where several of a model were, once they are added up."""
        known = self._ledger.places()
        for name in sorted({known[place].model for place in self._left}):
            left = self._left_by(name)
            if len(left) > 1:
                self._add_up(left)
                yield left[0]

    def _left_by(self, name: str) -> list[int]:
        """What versions of a model left, the first to go first; what is added up before all. One
        that is in memory at another place too goes on there."""
        known = self._ledger.places()
        own = {place: owner.version for place, owner in known.items() if owner.model == name}
        here = {version for place, version in own.items() if known[place].is_taken}
        left = [place for place in self._left if place in own and own[place] not in here]
        return sorted(left, key=lambda place: own[place] != EARLIER)

    def _beyond(self, name: str) -> list[int]:
        """Those of them that are not of the last versions to go."""
        known, left = self._ledger.places(), self._left_by(name)
        versions = list(dict.fromkeys(known[place].version for place in reversed(left)))
        return [place for place in left if known[place].version in versions[KEPT_VERSIONS:]]

    def _add_up(self, left: Sequence[int]) -> None:
        at = self._blank()[0]
        self._ledger.add_up(left, at)
        self._left = [place for place in self._left if place not in left] + [at]

    def free(self, place: int) -> None:
        """No process has the version any more, nor will one have it."""
        spec = self._taken.pop(place)
        os.close(spec.arena_fd)
        self._ledger.leave_place(place)
        self._left.append(place)
        beyond = self._beyond(spec.name)
        if beyond and self._ledger.places()[beyond[-1]].version != EARLIER:
            self._add_up(beyond)

    def same(self, bundle: Bundle, own: ModelSettings) -> ModelSpec | None:
        """The version as it is served already, if nothing of it has changed."""
        for spec in self.of_workers.values():
            if spec.manifest == bundle.manifest and spec.settings == own:
                return spec
        return None
