"""A Redis of the tests' own: Debian's, on a free port, in its own folder, with its own log."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import redis

GIVE_UP_S = 20


def free_port() -> int:
    """One that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """Runs between `start` and `kill` or `stop`, as often as one likes, on the same files."""

    def __init__(self, folder: Path, *, append_only: bool = True, **settings: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._settings = {
            "port": str(self.port), "bind": "127.0.0.1", "dir": str(folder), "save": "",
            "appendonly": "yes" if append_only else "no", "appendfsync": "everysec",
            "logfile": str(folder / "redis.log"), "daemonize": "no",
        } | settings  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.kill)
            self.start()
            stack.pop_all()
        return self

    @contextmanager
    def killed(self) -> Iterator[None]:
        """At the end it does not run, whether it did before or not."""
        try:
            yield
        finally:
            self.kill()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [part for name, value in self._settings.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        give_up_s = time.monotonic() + GIVE_UP_S
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except (redis.ConnectionError, redis.BusyLoadingError):
                assert self._process.poll() is None, (self.folder / "redis.log").read_text()
                assert time.monotonic() < give_up_s, "Redis does not answer"
                time.sleep(0.01)

    def client(self) -> redis.Redis:
        """Another client of it."""
        return redis.Redis.from_url(self.url, protocol=2)

    def ask(self, *command: Any) -> Any:
        """What it answers to a command."""
        with self.client() as client:
            return client.execute_command(*command)

    def freeze(self) -> None:
        """From now on it takes connections and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it in good order."""
        self._signal(signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(GIVE_UP_S)
        self._process = None
