"""The versions that a worker holds: those it serves, and those that come and go meanwhile."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable
from functools import partial

from inferctl import heap
from inferctl.arena.ledger import Ledger
from inferctl.arena.memory import adopt_memory
from inferctl.arena.slots import ModelArena
from inferctl.arena.spec import ModelSpec, Roster, WorkerSpec
from inferctl.errors import InferctlError
from inferctl.reasons import reason_of
from inferctl.server.catalogue import Catalogue
from inferctl.server.link import EngineLink
from inferctl.server.offer import Offer, make_offer
from inferctl.server.served import ServedModel


class Versions:
    """Does what the supervisor asks for, and says by `answer` when it is done, or why not."""

    def __init__(
        self, spec: WorkerSpec, ledger: Ledger, link: EngineLink, catalogue: Catalogue,
        answer: Callable[[int, str | None], object],
    ) -> None:  # fmt: skip
        self._spec = spec
        self._ledger = ledger
        self._link = link
        self._catalogue = catalogue
        self._answer = answer
        self._by_place: dict[int, ServedModel] = {}
        # The loop's hold on a task is a weak one.
        self._preparing: set[asyncio.Task[None]] = set()

    def hold(self, offers: Iterable[Offer]) -> None:
        """Hold the versions that the worker was born with, and serve those on its roster."""
        for spec, offer in zip(self._spec.models, offers, strict=True):
            self._add(spec, offer)
        self._catalogue.renew(self._spec.roster, self._by_place)

    def prepare(self, spec: ModelSpec, request: int) -> None:
        """Make what another version needs, beside the event loop."""
        task = asyncio.ensure_future(self._prepare(spec, request))
        self._preparing.add(task)
        task.add_done_callback(self._preparing.discard)

    async def _prepare(self, spec: ModelSpec, request: int) -> None:
        try:
            others = [model.offer for model in self._by_place.values()]
            self._add(spec, await asyncio.to_thread(make_offer, spec, others))
        except (InferctlError, OSError, MemoryError) as error:
            self._answer(request, reason_of(error))
        else:
            self._answer(request, None)

    def _add(self, spec: ModelSpec, offer: Offer) -> None:
        memory = adopt_memory(spec.arena_fd)
        arena = ModelArena(spec.manifest, spec.slots, self._spec.workers, memory)
        model = ServedModel(offer, arena, self._spec.index, self._ledger)
        self._by_place[spec.place] = model
        self._link.add(model)

    def serve(self, roster: Roster) -> None:
        """New requests go to what is on the roster from now on."""
        self._catalogue.renew(roster, self._by_place)

    def leave(self, place: int, request: int) -> None:
        """Let go of a version that is on no roster, once its last request is answered."""
        if model := self._by_place.get(place):
            # Not at once: it may be in the middle of its last verdict.
            loop = asyncio.get_running_loop()
            model.leave(partial(loop.call_soon, self._drop, place, request))
        else:  # it could not be prepared
            self._answer(request, None)

    def _drop(self, place: int, request: int) -> None:
        model = self._by_place.pop(place)
        self._link.remove(model)
        del model
        self._ledger.blocks[self._spec.process].reset_gauges_at(place)
        gc.collect()  # its schemas are classes, which are cycles
        heap.give_back()
        self._answer(request, None)
