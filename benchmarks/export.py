"""What an export takes in time and memory: `python -m benchmarks.export [--rounds N]`.

The demo's detector, and two checkpoints of about 500 MB with random weights. Seconds are those of
the whole command, verification included; memory is the largest resident set of its process, told
beside that of a process which imports torch and beside the size of the checkpoint. This process
imports no torch: a child's largest set is never below its parent's at the time of the fork.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.command import REPOSITORY, run
from inferctl.demo.scenes import LABELS, SIZE
from inferctl.errors import BenchError

DETECTOR = REPOSITORY / "inferctl/demo/checkpoints/shapes.safetensors"
CLASSES = ",".join(f"class_{number}" for number in range(10))


@dataclass(frozen=True, slots=True)
class Taken:
    """Wall seconds and the largest resident set, in bytes, of a process that has ended well."""

    seconds: float
    peak_bytes: int


def main(
    rounds: Annotated[int, typer.Option(min=1, max=20)] = 3,
    precision: Annotated[str, typer.Option(help="As of `inferctl export`")] = "fp32",
) -> None:
    """Measure, and print the table."""
    with TemporaryDirectory(dir=REPOSITORY) as name:
        folder = Path(name)
        measure(["-m", "benchmarks.checkpoints", name])
        torch = measure(["-c", "import torch"]).peak_bytes
        table = Table(
            *("checkpoint", "MB", "median s", "worst s", "peak MB", "x checkpoint over torch"),
            title=f"export in {precision}, {rounds} rounds, {os.cpu_count()} cores; "
            f"torch alone takes {torch / 1e6:.0f} MB",
        )
        for checkpoint, flags in exports(folder):
            command = ["-m", "inferctl", "export", str(checkpoint), "--output", str(folder / "out")]
            command += ["--force", "--version", "1", "--precision", precision, *flags]
            taken = [measure(command) for _ in track(range(rounds), checkpoint.name)]
            table.add_row(*figures(checkpoint, taken, torch))
    Console().print(table)


def exports(folder: Path) -> tuple[tuple[Path, Sequence[str]], ...]:
    """The checkpoints, and the flags that their exports need."""
    detection = ["--factory", "inferctl.demo.shapes:build", "--task", "image-detection"]
    detection += ["--labels", ",".join(LABELS), "--image-size", str(SIZE)]
    wide = ["--factory", "benchmarks.checkpoints:Wide", "--task", "image-classification"]
    wide += ["--labels", CLASSES, "--image-size", "32"]
    return (DETECTOR, detection), (folder / "wide.pt", wide), (folder / "bert", [])


def figures(checkpoint: Path, taken: Sequence[Taken], torch_bytes: int) -> list[str]:
    """A row of the table."""
    size = weights_bytes(checkpoint)
    seconds = [one.seconds for one in taken]
    peak = max(one.peak_bytes for one in taken)
    return [
        checkpoint.name,
        f"{size / 1e6:.1f}",
        f"{statistics.median(seconds):.1f}",
        f"{max(seconds):.1f}",
        f"{peak / 1e6:.0f}",
        f"{(peak - torch_bytes) / size:.2f}",
    ]


def weights_bytes(checkpoint: Path) -> int:
    """Size of a file, or of the weights in a directory."""
    file = checkpoint / "model.safetensors" if checkpoint.is_dir() else checkpoint
    return file.stat().st_size


def measure(arguments: Sequence[str]) -> Taken:
    """Run Python with `arguments`. Raises BenchError when it fails."""
    begun_s = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None  # it was asked for
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise BenchError(f"{' '.join(arguments[:3])} fails: {''.join(last)}")
    return Taken(time.monotonic() - begun_s, usage.ru_maxrss * 1024)


if __name__ == "__main__":
    run(main)
