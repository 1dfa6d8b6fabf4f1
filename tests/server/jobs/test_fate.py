"""What an answer means for the job that its item is of."""

from __future__ import annotations

import pytest

from inferctl.errors import InferctlError
from inferctl.refusals import (
    ClientGone,
    DeadlineExceeded,
    EngineCrash,
    NonFiniteOutput,
    OutOfMemory,
    Overloaded,
    RequestError,
    RequestTimeout,
    RowFailed,
    TooLarge,
    Unavailable,
    Unprocessable,
    Unsupported,
)
from inferctl.server.call import Call, Reply, problem
from inferctl.server.jobs.fate import LONGEST_WAIT_S, USUAL_WAIT_S, Fate, fate_of, wait_s


def answer(error: InferctlError) -> Reply:
    return problem(error, Call("JOB", "/jobs", b"", {}))


@pytest.mark.parametrize(
    ("kind", "fate"),
    [
        *((kind, Fate.RESULT) for kind in (RequestError, TooLarge, Unprocessable, Unsupported)),
        *((kind, Fate.RESULT) for kind in (RowFailed, NonFiniteOutput, OutOfMemory)),
        *((kind, Fate.AGAIN) for kind in (RequestTimeout, Overloaded, Unavailable, ClientGone)),
        *((kind, Fate.BROKEN) for kind in (EngineCrash, DeadlineExceeded, InferctlError)),
    ],
)
def test_what_cannot_change_is_a_result(kind: type[InferctlError], fate: Fate) -> None:
    assert fate_of(answer(kind("no")), was_run=True) is fate


def test_an_answer_is_a_result() -> None:
    assert fate_of(Reply(200, b"{}"), was_run=True) is Fate.RESULT


def test_what_never_came_to_its_turn_is_asked_again() -> None:
    assert fate_of(answer(DeadlineExceeded("no")), was_run=False) is Fate.AGAIN


@pytest.mark.parametrize(
    ("told_s", "waited_s"), [(0.25, 0.25), (LONGEST_WAIT_S, LONGEST_WAIT_S), (99, LONGEST_WAIT_S)]
)
def test_one_comes_back_when_one_is_told_to(told_s: float, waited_s: float) -> None:
    assert wait_s(answer(Overloaded("no", retry_after_s=told_s))) == waited_s
    assert wait_s(answer(Unavailable("no", retry_after_s=told_s))) == waited_s


def test_who_is_told_nothing_waits_a_little() -> None:
    assert wait_s(answer(RequestTimeout("no"))) == USUAL_WAIT_S
