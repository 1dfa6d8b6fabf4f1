"""A real child process: what it is told, what it says, how its death is learnt."""

from __future__ import annotations

import mmap
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from inferctl.arena.ledger import CPU_BASE_S, PID, Block, Ledger, ledger_bytes
from inferctl.arena.spec import ProcessSpec
from inferctl.arena.wire import Control
from inferctl.supervisor.child import (
    STDERR,
    Child,
    Fork,
    Interpreter,
    describe_exit,
    tell_stacks_when_asked,
)

from .toy_child import live

Kind = Callable[[Block], Child]

SPEC = ProcessSpec(models=(), workers=1, ledger_fd=7, process=Ledger.ENGINE)


@pytest.fixture(autouse=True)
def _toys_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def engine_block() -> Block:
    return Ledger(mmap.mmap(-1, ledger_bytes(3)), 1).blocks[Ledger.ENGINE]


def interpreter(block: Block, module: str = "toy_child") -> Child:
    return Interpreter("toy", module, lambda: SPEC, tuple, block)


def forked(block: Block) -> Child:
    return Fork("toy", live, tuple, block)


@pytest.fixture(params=[interpreter, forked])
def kind(request: pytest.FixtureRequest) -> Kind:
    """What holds of both kinds of child."""
    way: Kind = request.param
    return way


@asynccontextmanager
async def started(kind: Kind, block: Block | None = None) -> AsyncIterator[Child]:
    """A child that has said its first word; it must be dead in the end."""
    child = kind(block or engine_block())
    child.start()
    assert (await child.hear() or {})["event"] == "told"
    yield child
    with pytest.raises(ProcessLookupError):  # its death was collected
        os.kill(child.pid, 0)


async def end_of(child: Child) -> int:
    """Hear it out."""
    while await child.hear() is not None:
        pass
    return await child.death()


@pytest.mark.parametrize(
    ("kind", "spec"), [(interpreter, SPEC.model_dump(mode="json")), (forked, None)]
)
async def test_a_child_is_told_what_it_is_and_gets_a_session_of_its_own(
    kind: Kind, spec: object
) -> None:
    child = kind(engine_block())
    child.start()
    assert await child.hear() == {"event": "told", "spec": spec, "session": True}
    child.hang_up()
    assert await end_of(child) == 0


async def test_messages_arrive_whole_and_in_order(kind: Kind) -> None:
    async with started(kind) as child:
        child.tell({"say": 2000})
        assert [await child.hear() for _ in range(2000)] == [{"event": n} for n in range(2000)]
        child.hang_up()
        assert await child.hear() is None
        assert await child.death() == 0


async def test_a_descriptor_is_handed_over(kind: Kind) -> None:
    ours, theirs = os.pipe()
    async with started(kind) as child:
        assert child.tell({"write": "hello"}, theirs)
        os.close(theirs)
        child.tell({"exit": 0})
        assert await end_of(child) == 0
    assert os.read(ours, 100) == b"hello"
    os.close(ours)


@pytest.mark.parametrize("code", [0, 1, 3, 255])
async def test_an_exit_code_is_learnt(kind: Kind, code: int) -> None:
    async with started(kind) as child:
        child.tell({"exit": code})
        assert await end_of(child) == code


@pytest.mark.parametrize("signal", ["SIGKILL", "SIGSEGV", "SIGFPE"])
async def test_a_signal_is_learnt(kind: Kind, signal: str) -> None:
    async with started(kind) as child:
        child.tell({"signal": signal})
        assert describe_exit(await end_of(child)) == f"killed by {signal}"


async def test_a_child_is_killed_whatever_it_does(kind: Kind) -> None:
    async with started(kind) as child:
        child.tell({"burn_s": 3600})
        child.kill()
        assert await end_of(child) == -9


async def test_a_module_that_does_not_exist_is_a_death(capfd: pytest.CaptureFixture[str]) -> None:
    child = interpreter(engine_block(), "no_such_module")
    child.start()
    assert await child.hear() is None
    assert await child.death() == 1
    assert "no_such_module" in capfd.readouterr().err


async def test_the_ledger_knows_the_process_and_keeps_its_cpu(kind: Kind) -> None:
    block = engine_block()
    for seconds in (0.2, 0.4):
        async with started(kind, block) as child:
            assert block.state(PID).get() == child.pid > 0
            child.tell({"burn_s": 0.2, "exit": 0})
            await end_of(child)
        assert block.state(PID).get() == 0
        assert block.state(CPU_BASE_S).get() >= seconds


async def test_a_child_can_be_started_again(kind: Kind) -> None:
    async with started(kind) as child:
        first = child.pid
        child.tell({"exit": 1})
        assert await end_of(child) == 1
        child.start()
        assert (await child.hear() or {})["event"] == "told"
        assert child.pid != first
        child.tell({"exit": 0})
        assert await end_of(child) == 0


async def test_a_dead_child_hears_nothing(kind: Kind) -> None:
    async with started(kind) as child:
        child.tell({"exit": 0})
        assert await child.hear() is None
        assert not child.tell({"say": 1})
        await child.death()
        assert not child.tell({"say": 1})
        child.hang_up()
        child.kill()


async def test_a_child_before_its_birth_is_nobody(kind: Kind) -> None:
    child = kind(engine_block())
    assert child.pid == 0
    assert not child.tell({"say": 1})
    assert await child.death() == 0
    child.hang_up()
    child.kill()


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (3, "exit code 3"), (-15, "killed by SIGTERM")]
)
def test_an_end_is_described_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words


def live_blocked(stderr: int, control: Control) -> None:
    """In a search that holds the interpreter's lock, and ends in a million years."""
    os.dup2(stderr, STDERR)
    tell_stacks_when_asked()
    control.send({"event": "blocked"})
    re.match(r"(a+)+b", "a" * 64)


@pytest.mark.row(103)
async def test_a_child_that_is_blocked_tells_where_it_is() -> None:
    """None of its threads could."""
    ours, theirs = os.pipe()
    child = Fork("toy", partial(live_blocked, theirs), lambda: [theirs], engine_block())
    child.start()
    try:
        assert await child.hear() == {"event": "blocked"}
        child.tell_stacks()
        said = b""
        while b"in live_blocked" not in said:
            piece = os.read(ours, 4096)
            assert piece, said
            said += piece
    finally:
        child.kill()
        os.close(ours)
        os.close(theirs)
    assert await child.death() == -signal.SIGKILL
