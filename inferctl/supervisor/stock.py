"""The versions in memory: the place of each, and which processes have it."""

from __future__ import annotations

import os
from itertools import chain

from inferctl.arena.ledger import PLACES, Ledger
from inferctl.arena.spec import ModelSpec
from inferctl.bundles.repository import Bundle
from inferctl.errors import StartError
from inferctl.settings import ModelSettings
from inferctl.supervisor.specs import model_spec

NO_GPU = "no CUDA device: the models run on the CPU"


class Stock:
    """`of_engine` and `of_workers` are what those that are started now begin with, by place."""

    def __init__(self, ledger: Ledger, workers: int) -> None:
        self._ledger = ledger
        self._workers = workers
        self._taken: dict[int, ModelSpec] = {}
        self.of_engine: dict[int, ModelSpec] = {}
        self.of_workers: dict[int, ModelSpec] = {}

    def take(self, bundle: Bundle, own: ModelSettings) -> ModelSpec:
        """A place for a version, and its arena. Raises StartError when there is none."""
        name = bundle.manifest.name
        place = self._free_place(name)
        spec = model_spec(place, bundle, own, self._workers)
        self._ledger.give_place(place, name)
        self._taken[place] = spec
        return spec

    def _free_place(self, name: str) -> int:
        """One whose counters are the model's own, or nobody's, or a model's that is gone."""
        known = self._ledger.places()
        free = [place for place in range(PLACES) if place not in self._taken]
        present = {spec.name for spec in self._taken.values()}
        own = (place for place in free if known.get(place) == name)
        new = (place for place in free if place not in known)
        left = (place for place in free if known.get(place) not in present)
        place = next(chain(own, new, left), None)
        if place is None:
            raise StartError(
                f"more than {PLACES} versions in memory", hint="serve fewer versions at a time"
            )
        return place

    def free(self, place: int) -> None:
        """No process has the version any more, nor will one have it."""
        spec = self._taken.pop(place)
        os.close(spec.arena_fd)

    def same(self, bundle: Bundle, own: ModelSettings) -> ModelSpec | None:
        """The version as it is served already, if nothing of it has changed."""
        for spec in self.of_workers.values():
            if spec.manifest == bundle.manifest and spec.settings == own:
                return spec
        return None

    def would_rather_have_a_gpu(self) -> bool:
        """Whether a model runs on the CPU though its settings do not say so; once it runs."""
        asked = {spec.settings.runtime.device for spec in self.of_engine.values()}
        return "auto" in asked and not self._ledger.total("inferctl_engine_on_cuda")

    def descriptors(self, specs: dict[int, ModelSpec]) -> list[int]:
        """The arenas of these versions."""
        return [spec.arena_fd for spec in specs.values()]
