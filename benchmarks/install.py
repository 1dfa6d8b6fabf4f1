"""A venv for each peer: `python -m benchmarks.install [--venvs DIR] [--peer NAME …]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from benchmarks.command import FOLDER, run
from inferctl.errors import BenchError, UsageError

# What `benchmarks.peers.work` needs, and each peer as its users install it.
WORK = ("onnxruntime==1.32.0", "numpy", "pillow", "tokenizers")
PACKAGES = {
    "tutorial": ("fastapi", "uvicorn", "uvloop", "httptools"),
    "litserve": ("litserve==0.2.19", "uvloop", "httptools"),
    "mosec": ("mosec==0.9.8",),
}


def python_of(venvs: Path, peer: str) -> Path:
    """The interpreter of a peer's venv, there or not."""
    return venvs / peer / "bin" / "python"


def main(
    venvs: Annotated[Path, typer.Option(help="Folder of venvs")] = FOLDER / "venvs",
    peer: Annotated[list[str] | None, typer.Option(help="Only these [default: all]")] = None,
) -> None:
    """Make the venvs that are missing and install into all."""
    if unknown := set(peer or []) - set(PACKAGES):
        raise UsageError(
            f"no such peer: {', '.join(sorted(unknown))}",
            where="--peer",
            hint=f"known are {', '.join(PACKAGES)}",
        )
    for name in track(peer or list(PACKAGES), "installing"):
        python = python_of(venvs, name)
        if not python.exists():
            call(sys.executable, "-m", "venv", str(venvs / name))
        call(str(python), "-m", "pip", "install", "--quiet", *WORK, *PACKAGES[name])
    Console().print(f"venvs in {venvs}")


def call(*command: str) -> None:
    """Run a command; its last line of complaint is the error. Raises BenchError."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no word of why").splitlines()[-1]
        raise BenchError(f"{' '.join(command[:4])} … failed: {last}", where=command[-1])


if __name__ == "__main__":
    run(main)
