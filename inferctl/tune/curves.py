"""What runs of a bundle cost, measured as the engine's warm-up does: `python -m …curves BUNDLE`.

A process of its own: its threads and its memory are gone before anything else is measured, and a
graph that kills it kills nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from inferctl.errors import StartError
from inferctl.tune.late import Late

TIMEOUT_S = 120.0

# Seconds of a run, by its rows.
RunSeconds: TypeAlias = Mapping[int, float]


def measured_curves(
    bundle: Path, threads: Sequence[int], device: str, limit_s: float = TIMEOUT_S
) -> dict[int, RunSeconds]:
    """Seconds of a run by its rows, for each number of threads.

    Raises StartError when the model does not run, with what the process said last, and Late when it
    takes longer than `limit_s`.
    """
    command = [sys.executable, "-m", __name__, str(bundle), device, *map(str, threads)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=limit_s,
            errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Late(f"the model did not warm up in {limit_s:.3g} s", where=str(bundle)) from None
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2] or f"code {done.returncode}"
        raise StartError(f"the model does not run: {last}", where=str(bundle))
    found = json.loads(done.stdout)
    return {
        int(count): {int(rows): float(seconds) for rows, seconds in curve.items()}
        for count, curve in found.items()
    }


def main(arguments: Sequence[str]) -> None:
    """Measure and print; rows are of the length that rows are taken to have at warm-up."""
    # The parent needs none of the engine.
    from inferctl.bundles.repository import open_bundle  # noqa: PLC0415
    from inferctl.engine.model import Model  # noqa: PLC0415
    from inferctl.engine.warmup import usual_tokens, warm  # noqa: PLC0415
    from inferctl.orphans import end_with_parent  # noqa: PLC0415
    from inferctl.settings import BatchingSettings, RuntimeSettings  # noqa: PLC0415

    end_with_parent()
    folder, device, *threads = arguments
    bundle = open_bundle(Path(folder))
    runtime = RuntimeSettings.model_validate({"device": device})
    found = {}
    for count in map(int, threads):
        model = Model(bundle.path, bundle.manifest, runtime, count)
        curve = warm(model, BatchingSettings()).curve
        tokens = usual_tokens(model)
        sizes = model.warmed if model.on_cuda else bundle.manifest.buckets.rows
        found[count] = curve.by_rows(sizes, tokens)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
