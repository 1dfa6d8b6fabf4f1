"""Locust as a child process: started, watched, stopped, its records read.

Importing Locust would patch this process's sockets and threads, so nothing here does.
"""

from __future__ import annotations

import importlib.util
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from inferctl.bench.figures import Requests
from inferctl.errors import BenchError, UsageError
from inferctl.proc import PROC, read_stat

STARTED = "started-*.txt"
REQUESTS = "requests-*.f64"
COLUMNS = 3

START_LIMIT_S = 60.0
# Requests under way when the window ends may still be answered; later ones count as unanswered.
DRAIN_S = 10
STOP_LIMIT_S = DRAIN_S + 20.0
# Ends a generator whose parent was killed and could not end it.
ORPHAN_LIMIT_S = 60


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


class Generator:
    """A closed loop of `users` on `url` + `path`. Entering starts it, leaving ends it at once.

    `folder` receives what it writes; nothing else may be in there but `bodies`, which may.
    """

    def __init__(
        self, url: str, path: str, *, bodies: Path, folder: Path, users: int, warmup_s: float,
        duration_s: float, api_key: str | None = None,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._output = folder / "output.txt"
        self._process: subprocess.Popen[bytes]
        self._command = [
            sys.executable, "-m", "locust", "--headless", "--only-summary",
            "--locustfile", str(loadtests_folder() / "locustfile.py"),
            "--host", url,
            "--users", str(users),
            "--spawn-rate", str(users),
            "--stop-timeout", str(DRAIN_S),
            "--run-time", f"{math.ceil(warmup_s + duration_s) + ORPHAN_LIMIT_S}s",
            "--exit-code-on-error", "0",
        ]  # fmt: skip
        # A LOCUST_* variable of this shell is meant for other runs; it could add processes or tags.
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")
        }
        self._environment = inherited | {
            "LOADTEST_PATH": path,
            "LOADTEST_BODIES": str(bodies),
            "LOADTEST_OUTPUT": str(folder),
            "LOADTEST_WARMUP_S": str(warmup_s),
            "LOADTEST_API_KEY": api_key or "",
        }

    def __enter__(self) -> Self:
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A Ctrl-C is for the parent; it ends the generator when it is done with it.
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """The generator's process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise BenchError when the generator ended by itself, with its last line."""
        if self._process.poll() is not None:
            raise self._crashed()

    def started_s(self) -> float | None:
        """The monotonic time at which all users ran; None before. Raises BenchError if it ended."""
        self.check()
        for mark in self._folder.glob(STARTED):
            return float(mark.read_text(encoding="ascii"))
        return None

    def wait_until_started(self) -> float:
        """The monotonic time at which all users ran. Raises BenchError when it does not come."""
        limit_s = time.monotonic() + START_LIMIT_S
        while (started_s := self.started_s()) is None:
            if time.monotonic() > limit_s:
                raise BenchError(
                    f"the load generator did not start in {START_LIMIT_S:g} s",
                    hint=f"it said: {self._last_line()}",
                )
            time.sleep(0.02)
        return started_s

    def cpu_s(self) -> float | None:
        """CPU seconds used so far; None where /proc does not tell."""
        stat = read_stat(PROC / f"{self.pid}")
        return stat.cpu_s if stat else None

    def stop(self) -> Requests:
        """End the load, wait for answers under way, and return all requests.

        Raises BenchError when the generator crashed or does not end.
        """
        self.check()
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise BenchError(
                f"the load generator did not end in {STOP_LIMIT_S:g} s",
                hint=f"it said: {self._last_line()}",
            ) from None
        if code != 0:
            raise self._crashed()
        return read_requests(self._folder)

    def _crashed(self) -> BenchError:
        return BenchError(
            f"the load generator ended with code {self._process.returncode}: {self._last_line()}"
        )

    def _last_line(self) -> str:
        lines = self._output.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


def read_requests(folder: Path) -> Requests:
    """The records of all generator processes: rows of begin, latency and status; may be empty."""
    parts = [np.fromfile(file, np.float64) for file in sorted(folder.glob(REQUESTS))]
    return np.concatenate([*parts, np.empty(0)]).reshape(-1, COLUMNS)
