"""A running `inferctl serve`, for tests."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

SERVE = (sys.executable, "-m", "inferctl", "serve")
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60


@dataclass(frozen=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """Starts on a free port; `url` is known once it says that it is ready.

    As a context it is ready, and is stopped whatever happens: well, where nothing else went wrong.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        deaf: bool = False,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = SERVE,
        output: IO[bytes] | None = None,
    ) -> None:
        """`deaf`: nobody reads its log once it is ready. `environment` takes the place of ours, and
        `output` that of our stdout."""
        self._deaf = deaf
        self.folder = folder
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.stop)
            self.wait_until_ready()
            stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        code = self.stop()
        assert kind or code == 0, "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.lines.append(line)
                self._said.notify_all()
            if self._deaf and " ready " in line:
                break
        self.process.stderr.close()
        with self._said:
            self.lines.append("")  # the end
            self._said.notify_all()

    def wait_for_line(self, word: str, count: int = 1) -> str:
        """The `count`-th line of the log that contains a word."""
        with self._said:
            self._said.wait_for(
                lambda: self._hits(word) >= count or self.lines[-1:] == [""], START_TIMEOUT_S
            )
            assert self._hits(word) >= count, "".join(self.lines)
            return [line for line in self.lines if word in line][count - 1]

    def _hits(self, word: str) -> int:
        return sum(word in line for line in self.lines)

    def wait_until_ready(self) -> None:
        """Learn the URL."""
        found = re.search(r"url=(\S+)", self.wait_for_line(" ready "))
        assert found is not None
        self.url = found.group(1)

    def pids(self, name: str) -> list[int]:
        """The processes of a name among its descendants, from /proc."""
        return sorted(pid for pid in _descendants(self.process.pid) if _name(pid) == name)

    def request(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None,
        method: str | None = None,
    ) -> Answer:  # fmt: skip
        """GET, or POST with a body, or another method. An HTTP error is an answer too."""
        request = urllib.request.Request(self.url + path, body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return Answer(reply.status, dict(reply.headers.items()), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers.items()), error.read())

    def post_json(self, path: str, body: dict[str, Any]) -> Answer:
        return self.request(path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def metric(self, series: str) -> float:
        """The sum of the series, written as in the exposition, that have these labels and maybe
        more: `version` is one, where it does not matter. What was never counted has none."""
        name, _, labels = series.rstrip("}").partition("{")
        wanted = labels.split(",") if labels else []
        lines = self.request("/metrics").body.decode().splitlines()
        family = re.sub("_(bucket|count|sum)$", "", name)
        assert any(line.startswith((f"# TYPE {name} ", f"# TYPE {family} ")) for line in lines)
        return sum(
            float(line.split()[-1])
            for line in lines
            if re.split("[{ ]", line)[0] == name and all(label in line for label in wanted)
        )

    def wait_for_metric(self, series: str, value: float) -> None:
        """Ask until a series has reached a value."""
        give_up_s = time.monotonic() + START_TIMEOUT_S
        while self.metric(series) < value:
            assert time.monotonic() < give_up_s, series

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_TIMEOUT_S)
        self._reader.join(STOP_TIMEOUT_S)
        return code

    def kill(self) -> None:
        """SIGKILL to all of its processes at once, as when its machine loses its power."""
        pids = [self.process.pid, *_descendants(self.process.pid)]
        for pid in pids:
            with suppress(ProcessLookupError):  # its parent took it along
                os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_S)
        wait_for_end(pids)


def wait_for_end(pids: Iterable[int]) -> None:
    """Until these processes ended, whoever is to ask how."""
    for pid in pids:
        try:
            end = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        poll = select.poll()
        poll.register(end, select.POLLIN)
        ended = poll.poll(1000 * STOP_TIMEOUT_S)
        os.close(end)
        assert ended, f"process {pid} is still there"


def _descendants(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, _text(path).split()):
            yield child
            yield from _descendants(child)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it ended meanwhile
        return ""


def _name(pid: int) -> str:
    return _text(Path(f"/proc/{pid}/comm")).rstrip("\n")
