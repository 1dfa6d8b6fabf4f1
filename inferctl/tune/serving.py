"""A candidate as a process: `inferctl serve` with its settings, on a free port of loopback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from inferctl.errors import StartError
from inferctl.settings import Settings
from inferctl.tune.late import Late
from inferctl.tune.space import Candidate
from inferctl.tune.toml import toml_text

START_LIMIT_S = 60.0
POLL_S = 0.02
# How long a drain is waited for, and then how long a stop at once.
STOP_S, STOP_AT_ONCE_S = 3.0, 2.0

# Who may ask, and where, is not measured: a candidate listens to this process alone.
NOT_TAKEN = {
    "host", "port", "share_port", "api_keys", "insecure", "admin", "allowed_hosts", "tls_cert",
    "tls_key",
}  # fmt: skip
# Of the request log, which is beside the server's own files.
LOG = "requests.log"
# What takes so many times the limit has missed it by far; it would only be in the next one's way.
LIMITS_TO_DEADLINE = 10
SHORTEST_DEADLINE_MS = 1000

_READY = re.compile(r"\bready\b.*\burl=(\S+)")


def served_settings(settings: Settings, candidate: Candidate, limit_ms: float) -> dict[str, Any]:
    """The tree that a candidate is served with: the settings as they are, and its own.

    The model's own sections become the only ones, and who may ask is left out. A request's deadline
    is no longer than what can still matter for the limit.
    """
    own = settings.for_model(candidate.variant.name)
    server = settings.server
    deadline_ms = max(SHORTEST_DEADLINE_MS, int(LIMITS_TO_DEADLINE * limit_ms))
    tree: dict[str, Any] = {
        "models_dir": candidate.variant.folder,
        "server": {
            name: value
            for name, value in server.model_dump(mode="json", exclude_unset=True).items()
            if name not in NOT_TAKEN
        },
        "batching": own.batching.model_dump(mode="json", exclude_unset=True),
        "limits": own.limits.model_dump(mode="json", exclude_unset=True),
        "runtime": own.runtime.model_dump(mode="json", exclude_unset=True),
        "metrics": settings.metrics.model_dump(mode="json", exclude_unset=True),
        "logs": settings.logs.model_dump(mode="json", exclude_unset=True) | {"path": LOG},
        "jobs": {"backend": "off"},
    }
    tree["server"] |= {
        "port": 0,
        "request_timeout_ms": min(server.request_timeout_ms, deadline_ms),
        "drain_timeout_s": 1.0,
        "drain_delay_s": 0.0,
    }
    if own.runtime.tensorrt:  # what is built takes minutes, and is kept where the service has it
        tree["runtime"]["tensorrt_cache"] = str(Path(own.runtime.tensorrt_cache).resolve())
    for section, values in candidate.settings().items():
        tree[section] |= values
    return tree


class Serving:
    """A server of its own. Entering starts it and waits until it is ready; leaving ends it."""

    def __init__(self, tree: Mapping[str, Any], limit_s: float = START_LIMIT_S) -> None:
        """It may take `limit_s` to be ready."""
        self._tree, self._limit_s = tree, limit_s
        self._folder = TemporaryDirectory(prefix="inferctl-tune-")
        self._process: subprocess.Popen[bytes]
        self.url = ""

    def __enter__(self) -> Self:
        """Raises StartError with the server's last line when it ends, and Late when it hangs."""
        folder = Path(self._folder.name)
        config, log = folder / "serve.toml", folder / "log.txt"
        config.write_text(toml_text(self._tree), encoding="utf-8")
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "inferctl.tune.served", "serve", "--config", str(config)],
                cwd=folder,
                # What the environment sets is in the tree already.
                env={name: value for name, value in os.environ.items() if not _is_ours(name)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A Ctrl-C is for the search, which then ends its servers.
                start_new_session=True,
            )
        try:
            self._wait_until_ready(log)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process.poll() is None

    def _wait_until_ready(self, log: Path) -> None:
        give_up_s = time.monotonic() + self._limit_s
        while True:
            text = log.read_text(encoding="utf-8", errors="replace")
            if match := _READY.search(text):
                self.url = match[1]
                return
            last = text.strip().rpartition("\n")[2] or "nothing"
            if not self.is_running:
                raise StartError(f"a candidate does not start; it said: {last}")
            if time.monotonic() > give_up_s:
                raise Late(f"a candidate is not ready after {self._limit_s:.3g} s; it said: {last}")
            time.sleep(POLL_S)

    def _stop(self) -> None:
        """A drain, then a stop at once, then the end; who interrupts that has the end at once."""
        try:
            for patience_s in (STOP_S, STOP_AT_ONCE_S):
                if self.is_running:
                    self._process.send_signal(signal.SIGTERM)
                    try:
                        self._process.wait(patience_s)
                    except subprocess.TimeoutExpired:
                        continue
        finally:
            if self.is_running:
                self._process.kill()
                self._process.wait()
            self._folder.cleanup()


def _is_ours(name: str) -> bool:
    return name.upper().startswith("INFERCTL_")
