"""Does the gate tell a slower server from noise? `python -m benchmarks.gate [--minutes 6]`.

Two models are served that differ in nothing but that one has a tenth more layers. In each round
the quicker one, the quicker one again and the slower one are measured by turns, as `inferctl bench
--against` does. Then its test compares them: the quicker with itself, which it must let pass, and
the slower with the quicker, which it must not; by all turns and by fewer, with and without what the
generator says of the machine's speed, and as if they had been measured one after the other. Each
measurement is a file; a second call adds to them, and `--report` judges what is there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count, pairwise, takewhile
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Annotated, TypeAlias

import numpy as np
import typer
from onnx import ModelProto, TensorProto, helper
from rich.console import Console
from rich.table import Table

from benchmarks.command import FOLDER, run
from inferctl.bench import Plan
from inferctl.bench.gate.comparison import SLOPE, changes_of
from inferctl.bench.gate.regression import MIN_WINDOWS
from inferctl.bench.measurement import Load
from inferctl.bench.offered import WARMUP_S
from inferctl.bench.report import Report, make_report, read_report, read_service
from inferctl.bench.report.document import to_json
from inferctl.bench.report.record import LoadRecord
from inferctl.bench.run import opened
from inferctl.bench.turns import by_turns
from inferctl.errors import BenchError
from inferctl.files import write_whole
from tests.e2e.service import Service
from tests.graphs import image_fields, write_bundle

STEADY, SLOWER = "steady", "slower"
# A round: the quicker one twice, so that it can be compared with itself.
ROUND = (STEADY, STEADY, SLOWER)
SIDE = 256
# So many that what a request costs besides them hardly counts.
LAYERS = 4000
SLOWDOWN = 0.1
LIMIT = 0.05


def main(
    minutes: Annotated[float, typer.Option(min=0.5, max=60, help="Measure for so long")] = 6.0,
    users: Annotated[int, typer.Option(min=1, max=256)] = 4,
    seconds: Annotated[float, typer.Option(min=2, max=600, help="Of each in a round")] = 20.0,
    out: Annotated[Path, typer.Option(help="Folder of the measurements")] = FOLDER / "gate",
    report: Annotated[bool, typer.Option("--report", help="Measure nothing")] = False,
) -> None:
    """Measure, keep, judge all that is there."""
    if not report:
        out.mkdir(parents=True, exist_ok=True)
        until_s = time.monotonic() + 60 * minutes
        # With what a turn takes besides its window.
        round_s = 2 * seconds * len(ROUND)
        with TemporaryDirectory() as name, serving(Path(name)) as service:
            while time.monotonic() + round_s < until_s:
                first = len(list(out.glob("*.json")))
                found = measured(service.url, users, seconds)
                for number, (role, one) in enumerate(found):
                    write_whole(out / f"{first + number:04d}-{role}.json", to_json(one))
    show(read_all(out))


def measured(url: str, users: int, seconds: float) -> list[tuple[str, Report]]:
    """The reports of a round, with their roles."""
    with ExitStack() as stack:
        benches = [
            stack.enter_context(opened(Plan(url, role, Load(users=users), 1, seconds, WARMUP_S)))
            for role in ROUND
        ]
        found = by_turns(benches, Load(users=users), seconds)
        session = token_hex(8)
        return [
            (
                role,
                make_report(
                    bench.target, bench.inputs, [one], warmup_s=WARMUP_S,
                    service=read_service(bench.target), session=session,
                ),
            )
            for role, bench, one in zip(ROUND, benches, found, strict=True)
        ]  # fmt: skip


def serving(folder: Path) -> Service:
    """A service with both models."""
    write_model(folder / "models" / STEADY / "1", STEADY, LAYERS)
    write_model(folder / "models" / SLOWER / "1", SLOWER, round(LAYERS * (1 + SLOWDOWN)))
    return Service([str(folder / "models"), "--port", "0"], folder)


def write_model(path: Path, name: str, layers: int) -> None:
    """A bundle of so many products with one matrix, which fits in a cache."""
    x, y = ({"name": one, "dtype": "float32", "shape": ["rows", SIDE]} for one in "xy")
    fields = image_fields(name=name, task="tensor", labels=[], inputs=[x], outputs=[y])
    del fields["image"]
    write_bundle(path, _graph(layers), fields)


def _graph(layers: int) -> ModelProto:
    # A rotation: however often it is applied, numbers keep their size.
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(SIDE, SIDE)))[0]
    weights = helper.make_tensor(
        "w", TensorProto.FLOAT, [SIDE, SIDE], rotation.astype(np.float32).tobytes(), raw=True
    )
    names = ["x", *(f"h{number}" for number in range(1, layers)), "y"]
    nodes = [
        helper.make_node("MatMul", [before, "w"], [after]) for before, after in pairwise(names)
    ]
    given, answer = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", SIDE]) for name in "xy"
    )
    graph = helper.make_graph(nodes, "layers", [given], [answer], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def read_all(folder: Path) -> list[tuple[str, Report]]:
    """Every measurement with its role, in the order of measuring. Raises BenchError without any."""
    found = [
        (path.stem.partition("-")[2], read_report(path)) for path in sorted(folder.glob("*.json"))
    ]
    if len(found) < len(ROUND):
        raise BenchError("no round was measured", where=str(folder), hint="measure first")
    return found


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of so many comparisons found the new one slower, and by how much on average."""

    comparisons: int
    flagged: int
    mean_change: float
    spread: float


def rate(
    pairs: Sequence[tuple[LoadRecord, LoadRecord]],
    windows: int,
    *,
    slope: float | None,
    paired: bool = True,
) -> Rate:
    """Compare pairs of (old, new) by their first windows; any figure that is slower counts."""
    flagged, worse = 0, []
    for old, new in pairs:
        found = changes_of(first(old, windows), first(new, windows), slope, paired=paired)
        known = [change for _, change in found if change is not None]
        flagged += any(change.exceeds(LIMIT) for change in known)
        worse.append(known[0].worse)
    return Rate(len(pairs), flagged, float(np.mean(worse)), float(np.std(worse)))


def first(load: LoadRecord, windows: int) -> LoadRecord:
    """A load as if it had been measured in so many windows."""
    return replace(load, windows=load.windows[:windows], counted_from=0)


Pairs: TypeAlias = list[tuple[LoadRecord, LoadRecord]]


def by_turn(found: Sequence[tuple[str, Report]]) -> tuple[Pairs, Pairs]:
    """Pairs of (old, new) of a round: the quicker with itself, either way, and the slower."""
    same, other = [], []
    loads = [report.loads[0] for _, report in found]
    for one, again, slower in zip(loads[::3], loads[1::3], loads[2::3], strict=False):
        same += [(one, again), (again, one)]
        other += [(one, slower), (again, slower)]
    return same, other


def one_after_the_other(found: Sequence[tuple[str, Report]]) -> tuple[Pairs, Pairs]:
    """Pairs of (old, new) of one round and the next."""
    loads = [report.loads[0] for _, report in found]
    rounds = list(pairwise(zip(loads[::3], loads[1::3], loads[2::3], strict=False)))
    same = [pair for old, new in rounds for pair in ((old[0], new[0]), (old[1], new[1]))]
    other = [pair for old, new in rounds for pair in ((old[0], new[2]), (old[1], new[2]))]
    return same, other


def show(found: Sequence[tuple[str, Report]]) -> None:
    """Print how often the test was right, by the number of turns."""
    table = Table("measured", "windows", "machine's speed", "same", "slower", "slower by")
    most = min(len(report.loads[0].windows) for _, report in found)
    counts = [*takewhile(lambda few: few < most, (MIN_WINDOWS * 2**n for n in count())), most]
    for told, (same, other), paired in (
        ("by turns", by_turn(found), True),
        ("one after the other", one_after_the_other(found), False),
    ):
        for windows in counts if same else ():
            for corrected, slope in (("corrected", SLOPE), ("as measured", None)):
                alike = rate(same, windows, slope=slope, paired=paired)
                slow = rate(other, windows, slope=slope, paired=paired)
                table.add_row(
                    told, str(windows), corrected,
                    f"{alike.flagged} of {alike.comparisons}, ± {alike.spread:.1%}",
                    f"{slow.flagged} of {slow.comparisons}",
                    f"{slow.mean_change:.1%} ± {slow.spread:.1%}",
                )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else 110).print(table)


if __name__ == "__main__":
    run(main)
