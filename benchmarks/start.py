"""Start-up and recovery: `python -m benchmarks.start MODELS [--rounds N]`.

Per round: `inferctl --help`; `inferctl serve` until the first 200 on /readyz; SIGKILL of the engine
until the first 200 on /predict after it. Prints medians and the worst.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

HOST = "127.0.0.1"
GIVE_UP_S = 30.0
POLL_S = 0.01


def main(
    models: Annotated[Path, typer.Argument(help="Folder of bundles, as `inferctl demo` leaves it")],
    rounds: Annotated[int, typer.Option(min=1, max=50)] = 7,
    port: Annotated[int, typer.Option(help="A free port")] = 8790,
) -> None:
    """Measure, and print the table."""
    figures: dict[str, list[float]] = {"--help": [], "serve to /readyz 200": [], "kill to 200": []}
    for _ in track(range(rounds), "measuring"):
        figures["--help"].append(time_help())
        ready_s, recovery_s = time_service(models.resolve(), port)
        figures["serve to /readyz 200"].append(ready_s)
        figures["kill to 200"].append(recovery_s)
    table = Table("what", "median s", "worst s", title=f"{rounds} rounds, {os.cpu_count()} cores")
    for what, seconds in figures.items():
        table.add_row(what, f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}")
    Console().print(table)


def time_help() -> float:
    """Seconds of `inferctl --help`."""
    begun_s = time.monotonic()
    command = [sys.executable, "-m", "inferctl", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun_s


def time_service(models: Path, port: int) -> tuple[float, float]:
    """Seconds to readiness, and from the engine's death to the next answer."""
    with tempfile.TemporaryDirectory() as folder:
        begun_s = time.monotonic()
        command = [sys.executable, "-m", "inferctl", "serve", str(models), "--port", str(port)]
        server = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
        try:
            wait_for_200(port, "/readyz", None)
            ready_s = time.monotonic() - begun_s
            killed_s = time.monotonic()
            os.kill(engine_of(server.pid), signal.SIGKILL)
            wait_for_200(port, "/models/sentiment/predict", b'{"text": "good"}')
            return ready_s, time.monotonic() - killed_s
        finally:
            server.terminate()
            server.wait()


def engine_of(supervisor: int) -> int:
    """The engine's pid, from /proc."""
    for path in Path(f"/proc/{supervisor}/task").glob("*/children"):
        for pid in path.read_text().split():
            if re.search("inferctl.engine", Path(f"/proc/{pid}/cmdline").read_text()):
                return int(pid)
    raise SystemExit("the service has no engine")


def wait_for_200(port: int, path: str, body: bytes | None) -> None:
    """Ask until the answer is 200."""
    give_up_s = time.monotonic() + GIVE_UP_S
    headers = {"Content-Type": "application/json"}
    while time.monotonic() < give_up_s:
        request = urllib.request.Request(f"http://{HOST}:{port}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=GIVE_UP_S):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(POLL_S)
    raise SystemExit(f"no answer on {path}")


if __name__ == "__main__":
    typer.run(main)
