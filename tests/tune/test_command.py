"""The command itself, on a real model with real servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inferctl.sources import load_settings

BUDGET_S = 20.0
# The budget, and what it takes to start and to end on a busy machine.
PATIENCE_S = 60.0
POLL_S = 0.05
# On a busy machine a budget may end before anything was found that serves.
GOES = 4
# Set for whatever a search starts.
MARK = "SEARCH_OF_A_TEST"


def command(bundle: Path, folder: Path, *more: str, budget_s: float = BUDGET_S) -> list[str]:
    """Tune it, in a few measurements."""
    return [
        sys.executable, "-m", "inferctl", "tune", str(bundle), "--slo", "p90<100ms",
        "--budget", f"{budget_s:g}s", "--set", "server.workers=1",
        "--out", str(folder / "tuned.toml"), "--state", str(folder / "state"), *more,
    ]  # fmt: skip


def measured(folder: Path) -> int:
    """How many measurements are kept."""
    return sum(
        file.read_text().count('"judged"') for file in (folder / "state").glob("tune-net-*.json")
    )


@pytest.mark.e2e
def test_an_interrupted_search_is_gone_on_with_to_settings_that_serve(
    bundle: Path, tmp_path: Path
) -> None:
    environment = os.environ | {MARK: str(tmp_path)}
    first = subprocess.Popen(
        command(bundle, tmp_path, budget_s=60.0), env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    give_up_s = time.monotonic() + PATIENCE_S
    while not measured(tmp_path) and first.poll() is None and time.monotonic() < give_up_s:
        time.sleep(POLL_S)
    first.send_signal(signal.SIGINT)
    _, complaint = first.communicate(timeout=PATIENCE_S)

    assert first.returncode == 7, complaint
    assert "interrupted" in complaint
    assert "the same command goes on from there" in complaint

    page = tmp_path / "page.html"
    for _ in range(GOES):
        kept = measured(tmp_path)
        second = subprocess.run(
            command(bundle, tmp_path, "--html", str(page)),
            env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
        )  # fmt: skip
        if second.returncode == 0:
            break

    assert second.returncode == 0, second.stderr
    assert re.search(rf"measurements beside\s+{kept} of\s+before", second.stdout)
    assert measured(tmp_path) > kept
    settings = load_settings(config=tmp_path / "tuned.toml").settings
    assert settings.for_model("net").runtime.instances
    assert "inferctl tune" in page.read_text()
    assert not left_by(tmp_path)


@pytest.mark.e2e
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_by_a_search_whose_terminal_goes_away_or_that_is_killed(
    bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    search = subprocess.Popen(
        command(bundle, tmp_path, budget_s=60.0), env=os.environ | {MARK: str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert is_soon(lambda: any("inferctl.engine" in one for one in left_by(tmp_path)))
    search.send_signal(number)
    _, complaint = search.communicate(timeout=PATIENCE_S)

    if number == signal.SIGHUP:
        assert search.returncode == 7, complaint
        assert "interrupted" in complaint
        assert not left_by(tmp_path)
    # Workers of a supervisor that was killed have some seconds for a last word.
    assert is_soon(lambda: not left_by(tmp_path)), left_by(tmp_path)


def is_soon(so: Callable[[], bool]) -> bool:
    """Whether it is so before patience is over."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not so():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(POLL_S)
    return True


def left_by(folder: Path) -> list[str]:
    """What still runs of that which a search in this folder started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_text()
        except OSError:
            continue
        if f"{MARK}={folder}".encode() in environment:
            found.append(command)
    return found


def test_a_file_that_exists_is_told_of_before_anything_is_measured(
    bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "tuned.toml").write_text("mine")
    done = subprocess.run(
        command(bundle, tmp_path), capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )

    assert done.returncode == 5
    assert done.stderr.count("\n") == 1
    assert "say --force" in done.stderr
    assert (tmp_path / "tuned.toml").read_text() == "mine"
