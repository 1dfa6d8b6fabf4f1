"""`inferctl top` on a real terminal, beside a real service under load."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest

from tests.client.bundles import write_bundles
from tests.e2e.service import Service
from tests.unmeasured import without_coverage

pytestmark = pytest.mark.e2e

COMMAND = (sys.executable, "-m", "inferctl", "top", "--interval")
TIMEOUT_S = 60
CONTROL = re.compile(rb"\x1b\[[?0-9;]*[A-Za-z]")
ALTERNATE, ORDINARY, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
# In one frame: it is well, and answers.
UNDER_LOAD = re.compile(r"● ok[^●]*mood v1 +[1-9][\d,.]* +0\.0 +[\d.]+ +[\d.]+ +1\.0 ", re.DOTALL)


class Terminal:
    """`inferctl top` on a terminal of 120 columns; what it wrote since the last `forget`."""

    def __init__(self, url: str) -> None:
        self._ours, self._theirs = os.openpty()
        termios.tcsetwinsize(self._theirs, (40, 120))
        self.found = termios.tcgetattr(self._theirs)
        self.written = b""
        self.process = subprocess.Popen(
            [*COMMAND, "0.2s", url],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env=without_coverage() | {"TERM": "xterm-256color"},
            start_new_session=True,
        )

    def wait_for(self, pattern: re.Pattern[str]) -> str:
        """Read until a frame shows it; what was written, without what only moves the cursor."""
        give_up_s = time.monotonic() + TIMEOUT_S
        while not pattern.search(text := self._text()):
            assert time.monotonic() < give_up_s, text
            if select.select([self._ours], [], [], 1)[0]:
                self.written += os.read(self._ours, 65_536)
        return text

    def _text(self) -> str:
        return CONTROL.sub(b"", self.written).decode(errors="replace")

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def forget(self) -> None:
        self.written = b""

    def end(self) -> int:
        """The exit code; the terminal is as it was found."""
        give_up_s = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None:
            assert time.monotonic() < give_up_s, self._text()
            if select.select([self._ours], [], [], 0.05)[0]:
                self.written += os.read(self._ours, 65_536)
        while select.select([self._ours], [], [], 0)[0]:
            self.written += os.read(self._ours, 65_536)
        assert termios.tcgetattr(self._theirs) == self.found
        assert self.written.rindex(ORDINARY) > self.written.rfind(ALTERNATE)
        assert CURSOR in self.written
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for end in (self._ours, self._theirs):
            os.close(end)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundles(tmp_path_factory.mktemp("models"))


def serving(models: Path, folder: Path, port: int = 0) -> Service:
    """A service on a port, 0 for a free one."""
    flags = ["--workers", "1", "--set", "models.mood.default=true", "--port", str(port)]
    return Service([str(models), *flags], folder)


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(models, tmp_path_factory.mktemp("service")) as running:
        yield running


Watch = Callable[[str], Terminal]


@pytest.fixture
def watch() -> Iterator[Watch]:
    terminals: list[Terminal] = []

    def start(url: str) -> Terminal:
        terminals.append(Terminal(url))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


class Load:
    """A client that asks one request after the other, whoever answers."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                self.service.post_json("/predict", {"text": "a good film"})
            except (URLError, ConnectionError):
                self._over.wait(0.05)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_rates_are_seen_through_a_restart_and_q_quits(
    models: Path, tmp_path: Path, watch: Watch
) -> None:
    with serving(models, tmp_path) as service, Load(service):
        terminal = watch(service.url)
        terminal.wait_for(UNDER_LOAD)
        service.stop()
        seen = terminal.wait_for(re.compile(r"not reachable since [\d:]+ "))
        terminal.forget()
        with serving(models, tmp_path, port=urlsplit(service.url).port or 0):
            seen += terminal.wait_for(UNDER_LOAD)
            assert not re.search(r" -\d", seen), "no rate is negative"
            terminal.type(b"q")
            assert terminal.end() == 0


@pytest.mark.parametrize(
    ("ending", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_every_other_way_out_leaves_the_terminal_as_it_was(
    service: Service, watch: Watch, ending: signal.Signals, code: int
) -> None:
    terminal = watch(service.url)
    terminal.wait_for(re.compile(r"q quits"))
    terminal.process.send_signal(ending)
    assert terminal.end() == code


def test_one_look_is_printed_where_there_is_no_terminal(service: Service) -> None:
    with Load(service):
        done = subprocess.run(
            [*COMMAND, "2s", service.url, "--once"], capture_output=True, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert UNDER_LOAD.search(done.stdout)
    assert "\x1b" not in done.stdout
