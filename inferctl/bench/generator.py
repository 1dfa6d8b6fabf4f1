"""Locust as child processes: started, begun together, watched, stopped, their records read.

Importing Locust would patch this process's sockets and threads, so nothing here does.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from inferctl.bench.measurement import Load
from inferctl.errors import BenchError, UsageError
from inferctl.proc import folder_of, read_cpu_s

READY = "ready-*.txt"
CROWDED = "crowded-*.txt"
RESTED = "rested-*.txt"
BEGIN = "begin.txt"

START_LIMIT_S = 60.0
# Between saying when the load begins and its beginning: every process must have read it by then.
BEGIN_IN_S = 0.05
# Requests under way when the window ends may still be answered; later ones count as unanswered.
DRAIN_S = 10
STOP_LIMIT_S = DRAIN_S + 20.0
TICK_S = 0.002


def loadtests_folder() -> Path:
    """The folder of the Locust file: in the package of a wheel, beside it in a checkout.

    Raises BenchError when it is in neither.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "loadtests", here.parents[1] / "loadtests"):
        if (folder / "locustfile.py").is_file():
            return folder
    raise BenchError("the installation lacks loadtests/locustfile.py", hint="install it again")


def require_locust() -> None:
    """Raise UsageError when Locust is not installed."""
    if importlib.util.find_spec("locust") is None:
        raise UsageError("bench needs locust", hint="install with pip install 'inferctl[bench]'")


@dataclass(frozen=True, slots=True)
class Offer:
    """What is sent where: `bodies` is what LOADTEST_BODIES of loadtests/README.md may be, `shape`
    what LOADTEST_SHAPE may be, and `arrivals` a file of times if the load is a replay. Each process
    opens `connections` at most for a rate.
    """

    url: str
    path: str
    bodies: Path
    load: Load
    shape: str = ""
    arrivals: Path | None = None
    api_key: str | None = None
    ca: Path | None = None
    connections: int = 1

    def variables(self) -> dict[str, str]:
        """All of it but the users, which are split, for the Locust file."""
        rate = self.load.rate_per_s
        return {
            "LOADTEST_PATH": self.path,
            "LOADTEST_BODIES": str(self.bodies),
            "LOADTEST_RATE": "" if rate is None else repr(rate),
            "LOADTEST_ARRIVALS": str(self.arrivals or self.load.arrivals),
            "LOADTEST_SHAPE": self.shape,
            "LOADTEST_API_KEY": self.api_key or "",
            "LOADTEST_CA": str(self.ca or ""),
            "LOADTEST_CONNECTIONS": str(self.connections),
        }


class Generator:
    """Processes that share an offer. Entering starts them, leaving ends them at once.

    `folder` receives what they write; nothing else may be in there.
    """

    def __init__(self, offer: Offer, folder: Path, processes: int = 1) -> None:
        self.folder = folder
        self._shares = _split(offer.load.users, processes)
        self._commands = [_command(offer, users) for users in self._shares]
        # A LOCUST_* variable of this shell is meant for other runs; it could add processes or tags.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("LOCUST_")}
        self._environment = inherited | offer.variables() | {"LOADTEST_OUTPUT": str(folder)}
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for number, command in enumerate(self._commands):
            own = {
                "LOADTEST_PART": f"{number}/{len(self._commands)}",
                "LOADTEST_USERS": str(self._shares[number]),
            }
            with self._output(number).open("wb") as output:
                self._running.append(
                    subprocess.Popen(
                        command,
                        cwd=self.folder,
                        env=self._environment | own,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        # A Ctrl-C is for the parent; it ends them when it is done with them.
                        start_new_session=True,
                    )
                )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()

    @property
    def pids(self) -> list[int]:
        """The processes' ids."""
        return [process.pid for process in self._running]

    def check(self) -> None:
        """Raise BenchError when one of them ended by itself, with its last line."""
        for number, process in enumerate(self._running):
            if process.poll() is not None:
                raise self._crashed(number)

    def wait_until_ready(self) -> None:
        """Return when all could begin. Raises BenchError when one does not come to that."""
        self._wait_for(READY, START_LIMIT_S, "start")

    def begin(self) -> float:
        """Let all begin at the same time, which is returned: of the monotonic clock, seconds."""
        begin_s = time.monotonic() + BEGIN_IN_S
        # Renamed into place, so that who waits for the file never reads half of it.
        partial = self.folder / "begin.tmp"
        partial.write_text(repr(begin_s), encoding="ascii")
        partial.rename(self.folder / BEGIN)
        return begin_s

    def rest(self) -> None:
        """Let all begin nothing more, and return when all is answered, or was given up.

        Raises BenchError when one of them crashed or does not come to that.
        """
        for file in self.folder.glob(RESTED):
            file.unlink()
        self._signal(signal.SIGUSR1)
        self._wait_for(RESTED, STOP_LIMIT_S, "rest")

    def go_on(self) -> None:
        """Let all go on after a rest. Raises BenchError when one of them crashed."""
        self._signal(signal.SIGUSR2)

    def cpu_s(self) -> list[float] | None:
        """CPU seconds that each used so far; None where /proc does not tell."""
        used = [read_cpu_s(folder_of(pid)) for pid in self.pids]
        known = [cpu_s for cpu_s in used if cpu_s is not None]
        return known if len(known) == len(used) else None

    def stop(self) -> None:
        """End the load, and wait for answers under way.

        Raises BenchError when one of them crashed or does not end.
        """
        self._signal(signal.SIGTERM)
        limit_s = time.monotonic() + STOP_LIMIT_S
        for number, process in enumerate(self._running):
            try:
                code = process.wait(max(limit_s - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                raise BenchError(
                    f"the load generator did not end in {STOP_LIMIT_S:g} s",
                    hint=f"it said: {self._last_line(number)}",
                ) from None
            if code != 0:
                raise self._crashed(number)

    def crowded(self) -> bool:
        """Whether requests waited because all connections that it may open were busy."""
        return any(self.folder.glob(CROWDED))

    def _signal(self, number: signal.Signals) -> None:
        self.check()
        for process in self._running:
            process.send_signal(number)

    def _wait_for(self, files: str, within_s: float, wanted: str) -> None:
        """Until each has made its file, which says that it did what is wanted."""
        limit_s = time.monotonic() + within_s
        while len(list(self.folder.glob(files))) < len(self._running):
            self.check()
            if time.monotonic() > limit_s:
                raise BenchError(
                    f"the load generator did not {wanted} in {within_s:g} s",
                    hint=f"it said: {self._last_line(0)}",
                )
            time.sleep(TICK_S)

    def _output(self, number: int) -> Path:
        return self.folder / f"output-{number}.txt"

    def _crashed(self, number: int) -> BenchError:
        code = self._running[number].returncode
        return BenchError(f"the load generator ended with code {code}: {self._last_line(number)}")

    def _last_line(self, number: int) -> str:
        lines = self._output(number).read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


def _split(users: int | None, processes: int) -> list[int]:
    """Users of each process, at least one each; a rate has one clock in each."""
    if users is None:
        return [1] * processes
    processes = min(processes, users)
    return [users // processes + (number < users % processes) for number in range(processes)]


def _command(offer: Offer, users: int) -> list[str]:
    return [
        sys.executable, "-m", "locust", "--headless", "--only-summary",
        "--locustfile", str(loadtests_folder() / "locustfile.py"),
        "--host", offer.url,
        "--users", str(users),
        "--spawn-rate", str(users),
        "--stop-timeout", str(DRAIN_S),
        "--exit-code-on-error", "0",
    ]  # fmt: skip
