"""What a dead engine left running: each row alone, none twice, and nothing else touched."""

from __future__ import annotations

import mmap
import time
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest

from inferctl.arena.ledger import TRYING, Ledger, ledger_bytes
from inferctl.arena.slots import ModelArena
from inferctl.arena.wire import Verdict
from inferctl.engine.model import Model
from inferctl.engine.session import DeviceLost, Ended, OutOfMemory, RunFailed
from inferctl.engine.trial import Trial
from inferctl.engine.watchdog import Stint
from tests.graphs import image_manifest, new_arena

SLOTS = 8


class Died(Exception):
    """Stands for the end of the process."""


class Scene:
    """An arena in which an engine died while it ran `running`; a model with a list of ends."""

    def __init__(self, running: Sequence[int]) -> None:
        self.block = Ledger(mmap.mmap(-1, ledger_bytes(2)), 0).blocks[Ledger.ENGINE]
        self.arena = new_arena(image_manifest(), SLOTS)
        now_s = time.monotonic()
        self.arena.deadline_s[:] = now_s + 100 - np.arange(SLOTS)
        self.arena.submitted_s[:] = now_s - 3
        self.arena.started_s[:] = now_s - 2
        self.arena.finished_s[:] = now_s - 1
        self.arena.finished_s[list(running)] = 0.0
        self.ran: list[int] = []
        self.ends: dict[int, Exception] = {}

    def run(self, arena: ModelArena, slots: Sequence[int], *rest: Any) -> int:
        """What the trial thinks is the model's."""
        (slot,) = slots
        assert self.block.state(TRYING).get() == 1
        self.ran.append(slot)
        if slot in self.ends:
            raise self.ends[slot]
        return 1

    def hold(self, was_overdue: bool = False) -> Trial:
        """The next engine's trial."""
        self.ran.clear()
        trial = Trial(self.block, was_overdue)
        trial.hold(cast(Model, self), self.arena, Stint(lambda rows, patience: 1.0))
        return trial

    def verdicts(self) -> dict[int, Verdict]:
        """Of the rows that were tried."""
        arena = self.arena
        tried = np.flatnonzero(arena.tried_s == arena.submitted_s).tolist()
        return {slot: Verdict(arena.verdict[slot]) for slot in tried}


def test_what_was_not_running_is_not_tried() -> None:
    scene = Scene(running=[])
    scene.hold()
    assert scene.ran == []
    assert scene.verdicts() == {}


def test_what_was_running_is_tried_alone_the_most_urgent_first() -> None:
    scene = Scene(running=[1, 2, 5])
    trial = scene.hold()
    assert scene.ran == [5, 2, 1]
    assert scene.verdicts() == dict.fromkeys((1, 2, 5), Verdict.DONE)
    assert trial.untried == 0
    assert scene.block.state(TRYING).get() == 0


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (RunFailed("poison"), Verdict.FAILED),
        (OutOfMemory("no memory"), Verdict.OUT_OF_MEMORY),
        (Ended("terminated"), Verdict.TIMED_OUT),
    ],
)
def test_a_row_that_fails_alone_is_told_so(error: Exception, verdict: Verdict) -> None:
    scene = Scene(running=[1, 2])
    scene.ends[2] = error
    scene.hold()
    assert scene.verdicts() == {1: Verdict.DONE, 2: verdict}


@pytest.mark.row(84)
@pytest.mark.parametrize("was_overdue", [False, True])
@pytest.mark.parametrize("end", [Died(), DeviceLost("CUDA failure 719")])
def test_a_row_that_kills_its_engine_alone_is_the_culprit_and_not_tried_again(
    end: Exception, was_overdue: bool
) -> None:
    scene = Scene(running=[1, 2, 3])
    scene.ends[2] = end
    with pytest.raises(type(end)):
        scene.hold()
    assert scene.ran == [3, 2]
    assert scene.block.state(TRYING).get() == 1, "the supervisor sees what it died of"
    scene.hold(was_overdue)
    assert scene.ran == [1]
    culprit = Verdict.TIMED_OUT if was_overdue else Verdict.CRASHED
    assert scene.verdicts() == {1: Verdict.DONE, 2: culprit, 3: Verdict.DONE}
    scene.hold()
    assert scene.ran == []


def test_rows_that_nobody_waits_for_are_not_tried_but_counted() -> None:
    scene = Scene(running=[1, 2, 3])
    scene.arena.cancelled[1] = 1
    scene.arena.deadline_s[2] = 0.0
    trial = scene.hold()
    assert scene.ran == [3]
    assert trial.untried == 2
    scene.hold()
    assert scene.ran == [], "they are not asked for by anybody's successor either"


def test_a_slot_whose_row_is_another_one_since_is_tried_for_that_row() -> None:
    scene = Scene(running=[4])
    scene.hold()
    scene.arena.submitted_s[4] = time.monotonic()
    assert scene.verdicts() == {}
    scene.arena.started_s[4] = time.monotonic() + 1
    scene.hold()
    assert scene.ran == [4]
