"""The versions that a worker holds, as the supervisor has them come and go."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from inferctl.arena.layout import arena_bytes
from inferctl.arena.ledger import Ledger
from inferctl.arena.memory import create_memory
from inferctl.arena.spec import ModelSpec, Roster, ServedVersions, WorkerSpec
from inferctl.bundles.manifest import Manifest
from inferctl.observation import LogsSettings
from inferctl.refusals import NotFound
from inferctl.server.catalogue import Catalogue
from inferctl.server.link import EngineLink
from inferctl.server.offer import Offer
from inferctl.server.versions import Versions
from inferctl.settings import ModelSettings, ServerSettings
from tests.tasks.tinybundles import numbers, reader

from .loop import look_once, until
from .wiring import hold, make_ledger

SLOTS = 4
Told = tuple[int, str | None]


def spec_of(place: int, manifest: Manifest) -> ModelSpec:
    """As the supervisor tells it, with the worker's own descriptor of its arena."""
    return ModelSpec(
        place=place, manifest=manifest, bundle="no-files", slots=SLOTS,
        arena_fd=create_memory("arena", arena_bytes(manifest, SLOTS)), settings=ModelSettings(),
    )  # fmt: skip


def roster(**places: int) -> Roster:
    """Version v of a model has the place v."""
    models = {
        name: ServedVersions(places={place: place}, default=place) for name, place in places.items()
    }
    return Roster(models=models, default=next(iter(places), None))


class Held:
    """The versions of a worker that was born with version 1."""

    def __init__(self) -> None:
        self.answers: list[Told] = []
        self.catalogue, self.link = Catalogue(), EngineLink()
        self.ledger = make_ledger("sums", "sums", "sums")
        self.born_with = spec_of(1, numbers(version=1))
        spec = WorkerSpec(
            models=(self.born_with,), workers=1, ledger_fd=-1, process=Ledger.FIRST_WORKER,
            roster=roster(sums=1), index=0, listen_fd=-1, server=ServerSettings(),
            logs=LogsSettings(),
        )  # fmt: skip
        self.versions = Versions(
            spec, self.ledger, self.link, self.catalogue, lambda *told: self.answers.append(told)
        )
        self.versions.hold([Offer(self.born_with)])

    async def answered(self, *told: Told) -> None:
        await until(lambda: len(self.answers) == len(told))
        assert self.answers == list(told)


def arenas() -> int:
    gc.collect()  # what other tests left
    return Path("/proc/self/maps").read_text().count("memfd:inferctl-arena")


async def test_a_worker_serves_what_it_was_born_with() -> None:
    held = Held()
    assert held.catalogue.find("sums").version == 1
    assert held.catalogue.default is held.catalogue.find("sums")
    with pytest.raises(OSError, match="Bad file"):  # the mapping does without
        os.fstat(held.born_with.arena_fd)


async def test_a_version_is_prepared_served_and_let_go() -> None:
    before = arenas()
    held = Held()
    held.versions.prepare(spec_of(2, numbers(version=2)), 7)
    await held.answered((7, None))
    assert held.catalogue.find("sums").version == 1, "nobody said that it is served"

    held.versions.serve(roster(sums=2))
    assert held.catalogue.find("sums").version == 2
    held.versions.leave(1, 8)
    await held.answered((7, None), (8, None))
    assert arenas() == before + 1

    held.versions.serve(Roster())
    held.versions.leave(2, 9)
    await held.answered((7, None), (8, None), (9, None))
    assert arenas() == before
    with pytest.raises(NotFound):
        held.catalogue.find("sums")


async def test_a_version_is_held_while_a_row_of_it_is_on_its_way() -> None:
    held = Held()
    model = held.catalogue.find("sums")
    (slot,) = hold(model, 1)
    held.versions.leave(1, 8)
    await look_once()
    assert held.answers == []
    assert held.ledger.total("inferctl_in_flight", 1) == 1
    model.give_back(slot)
    model.look()
    await held.answered((8, None))
    assert held.ledger.total("inferctl_in_flight", 1) == 0


async def test_a_version_that_cannot_be_prepared_is_refused_and_nothing_is_left_of_it() -> None:
    held = Held()
    before = arenas()
    held.versions.prepare(spec_of(2, reader(version=2)), 7)
    await until(lambda: held.answers)
    ((request, error),) = held.answers
    assert request == 7
    assert error is not None
    assert "tokenizer.json" in error
    assert arenas() == before
    held.versions.leave(2, 8)
    await until(lambda: held.answers[1:] == [(8, None)])
    assert held.catalogue.find("sums").version == 1
