"""One child process: its birth, its control socket, its death."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from inferctl.arena.ledger import CPU_BASE_S, PID, Block
from inferctl.arena.spec import ProcessSpec
from inferctl.arena.wire import Control

Message = dict[str, Any]

# A control socket closes in the middle of its process' exit: what is left of it is over at once.
END_POLL_S = 0.005


class Child:
    """`module` runs as `python -m module`, told `spec` over its control socket.

    A new interpreter each time, never a fork: onnxruntime silently loses its threads in one, and
    its own session, so that Ctrl-C on a terminal reaches the supervisor alone.
    """

    def __init__(
        self, module: str, spec: ProcessSpec, inherited: Sequence[int], block: Block
    ) -> None:
        self.module = module
        self.spec = spec
        self._inherited = tuple(inherited)
        self._block = block
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._heard: asyncio.Queue[Message | None] = asyncio.Queue()

    @property
    def pid(self) -> int:
        """The process id, 0 before the first start."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the process and tell it what it is."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self.module, str(theirs.fileno())],
                pass_fds=(*self._inherited, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._block.state(PID).set(self._process.pid)
        self._control = control = Control(ours)
        self._heard = asyncio.Queue()
        asyncio.get_running_loop().add_reader(control.fileno(), self._listen, control)
        self.tell(self.spec.model_dump(mode="json"))

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
        if self._process is None:
            return 0
        while (end := _end_of(self._process.pid)) is None:  # noqa: ASYNC110 - nothing tells of it everywhere
            await asyncio.sleep(END_POLL_S)
        status, usage = end
        self._block.state(PID).set(0)
        self._block.state(CPU_BASE_S).add(usage.ru_utime + usage.ru_stime)
        # Popen must not wait for a process that is already gone.
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._control is not None:
            self._control.close()
            self._control = None
        return self._process.returncode

    def hang_up(self) -> None:
        """Tell the child to end itself."""
        if self._control is not None:
            self._control.hang_up()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)


def _end_of(pid: int) -> tuple[int, resource.struct_rusage] | None:
    """A child's wait status and what it used, once it has ended."""
    ended, status, usage = os.wait4(pid, os.WNOHANG)
    return (status, usage) if ended else None


def describe_exit(code: int) -> str:
    """An exit code in words."""
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
