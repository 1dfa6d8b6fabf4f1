"""One child process: its birth, its control socket, its death."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from inferctl.arena.ledger import BEAT_S, CPU_BASE_S, PID, Block
from inferctl.arena.spec import ProcessSpec
from inferctl.arena.wire import Control
from inferctl.errors import StartError
from inferctl.supervisor.fork import fork

Message = dict[str, Any]

# Whoever has it told writes the stacks of its threads to stderr.
STACKS_SIGNAL = signal.SIGUSR1
STDERR = 2
# A control socket closes in the middle of its process' exit: what is left of it is over at once.
END_POLL_S = 0.005


class Child(ABC):
    """A process with a control socket, and with a session of its own, so that Ctrl-C on a terminal
    reaches the supervisor alone. `pid` is 0 before the first start.

    `inherited` gives the descriptors that one which is started now has."""

    def __init__(self, name: str, inherited: Callable[[], Sequence[int]], block: Block) -> None:
        self.name = name
        self.pid = 0
        self.born_s = 0.0
        self._inherited = inherited
        self._block = block
        self._exit_code: int | None = 0
        self._control: Control | None = None
        self._heard: asyncio.Queue[Message | None] = asyncio.Queue()

    def start(self) -> None:
        """Start the process."""
        ours, theirs = socket.socketpair()
        self.born_s = time.monotonic()
        with theirs:
            self.pid = self._begin(theirs)
        self._exit_code = None
        self._block.state(BEAT_S).set(0)  # the last one's
        self._block.state(PID).set(self.pid)
        self._control = control = Control(ours)
        self._heard = asyncio.Queue()
        asyncio.get_running_loop().add_reader(control.fileno(), self._listen, control)

    @abstractmethod
    def _begin(self, control: socket.socket) -> int:
        """The pid of a new process that has this end of its control socket."""

    def tell(self, message: Message, descriptor: int | None = None) -> bool:
        """Send a control message; False when the process is dead."""
        return self._control is not None and self._control.send(message, descriptor)

    async def hear(self) -> Message | None:
        """The child's next message; None when it died."""
        return await self._heard.get()

    def _listen(self, control: Control) -> None:
        """Take in what the child says; called when its control socket is readable."""
        while True:
            message = control.receive()
            self._heard.put_nowait(message)
            if message is None:
                asyncio.get_running_loop().remove_reader(control.fileno())
            if not control.pending:
                return

    async def death(self) -> int:
        """Collect a process that has hung up; its exit code, or minus the signal that killed it.

        The CPU it used stays in the ledger's account of its role. No thread waits here: a fork
        takes no thread along, but every lock that one holds at that moment.
        """
        if self._exit_code is not None:
            return self._exit_code
        # Only Linux has a descriptor that tells of it, and the wait is a matter of microseconds.
        while (end := _end_of(self.pid)) is None:  # noqa: ASYNC110
            await asyncio.sleep(END_POLL_S)
        status, usage = end
        self._exit_code = os.waitstatus_to_exitcode(status)
        self._block.state(PID).set(0)
        self._block.state(CPU_BASE_S).add(usage.ru_utime + usage.ru_stime)
        if self._control is not None:
            self._control.close()
            self._control = None
        return self._exit_code

    def hang_up(self) -> None:
        """Tell the child to end itself."""
        if self._control is not None:
            self._control.hang_up()

    def kill(self) -> None:
        """End it at once."""
        if self._exit_code is None:
            os.kill(self.pid, signal.SIGKILL)

    def tell_stacks(self) -> None:
        """Have it write where its threads are to stderr; it must be ready for that."""
        if self._exit_code is None:
            os.kill(self.pid, STACKS_SIGNAL)


class Interpreter(Child):
    """`module` runs as `python -m module`, told what `spec` gives then over its control socket.

    For the engine: onnxruntime silently loses its threads in a fork.
    """

    def __init__(
        self,
        name: str,
        module: str,
        spec: Callable[[], ProcessSpec],
        inherited: Callable[[], Sequence[int]],
        block: Block,
    ) -> None:
        super().__init__(name, inherited, block)
        self._module = module
        self._spec = spec

    def start(self) -> None:
        """Start the process and tell it what it is."""
        super().start()
        self.tell(self._spec().model_dump(mode="json"))

    def _begin(self, control: socket.socket) -> int:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", self._module, str(control.fileno())],
            pass_fds=(*self._inherited(), control.fileno()),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        process.returncode = 0  # it must not wait for its end: `death` does
        return process.pid


class Fork(Child):
    """A fork of the supervisor does `work` with its end of the control socket."""

    def __init__(
        self,
        name: str,
        work: Callable[[Control], None],
        inherited: Callable[[], Sequence[int]],
        block: Block,
    ) -> None:
        super().__init__(name, inherited, block)
        self._work = work

    def _begin(self, control: socket.socket) -> int:
        return fork(lambda: self._work(Control(control)), (*self._inherited(), control.fileno()))


def tell_stacks_when_asked() -> None:
    """For a child, at its birth: see `Child.tell_stacks`."""
    faulthandler.register(STACKS_SIGNAL, file=STDERR, all_threads=True)


def _end_of(pid: int) -> tuple[int, resource.struct_rusage] | None:
    """A child's wait status and what it used, once it has ended."""
    ended, status, usage = os.wait4(pid, os.WNOHANG)
    return (status, usage) if ended else None


def describe_exit(code: int) -> str:
    """An exit code in words."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


async def _first_word(child: Child) -> None:
    """A child is ready. Raises StartError when it dies, or says that it never will be."""
    message = await child.hear()
    if message is None:
        reason = describe_exit(await child.death())
        raise StartError(f"the {child.name} died while starting: {reason}")
    if message["event"] == "failed":
        raise StartError(message["error"])


async def all_ready(children: Iterable[Child], stopping: asyncio.Event) -> None:
    """Wait until all are ready, or for the end. Raises StartError when one never will be."""
    ending = asyncio.create_task(stopping.wait())
    ready = asyncio.gather(*map(_first_word, children))
    either: set[asyncio.Future[Any]] = {ready, ending}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    ending.cancel()
    if ready.done():
        ready.result()
    else:
        ready.cancel()
        await asyncio.gather(ready, return_exceptions=True)
