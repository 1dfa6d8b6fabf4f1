"""One tensor in each dialect: `python -m benchmarks.dialects [--rounds N]`.

One service, loaded in turn with the same rows of four numbers as native JSON, as v2's JSON and
binary tensors, and as v1's instances; what a request costs is the CPU of all its processes.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.answers import ask
from benchmarks.command import FOLDER, run
from benchmarks.load import Framing, Load, measure, run_wrk
from benchmarks.servers import SETUPS, Running, started
from benchmarks.workloads import Assets, workload
from inferctl.errors import BenchError

NAME = "mlp"
WARM_UP_S = 1
PREDICT = f"/models/{NAME}/predict"
INFER = f"/v2/models/{NAME}/infer"
V1 = f"/v1/models/{NAME}:predict"

Row = list[float]


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way of sending a row: `body` makes one request of it, and says how much is JSON."""

    name: str
    path: str
    body: Callable[[int, Row], bytes]
    tensor_bytes: int = 0


def native(_: int, row: Row) -> bytes:
    """`/predict`."""
    return _json({"inputs": row})


def v1(_: int, row: Row) -> bytes:
    """`:predict`."""
    return _json({"instances": [row]})


def v2_json(_: int, row: Row) -> bytes:
    """`/infer`, all in JSON."""
    return _json({"inputs": [_tensor() | {"data": row}]})


def v2_binary(_: int, row: Row) -> bytes:
    """`/infer` as tritonclient sends it."""
    return _binary({}, row)


def v2_with_id(number: int, row: Row) -> bytes:
    """The same with an id, so that no JSON is like another."""
    return _binary({"id": f"{number:08d}"}, row)


def _binary(first: dict[str, Any], row: Row) -> bytes:
    tensor = struct.pack("<4f", *row)
    fields = {"inputs": [_tensor() | {"parameters": {"binary_data_size": len(tensor)}}]}
    return _json(first | fields | {"parameters": {"binary_data_output": True}}) + tensor


def _tensor() -> dict[str, Any]:
    return {"name": "input", "shape": [1, 4], "datatype": "FP32"}


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


DIALECTS = (
    Dialect("native JSON", PREDICT, native),
    Dialect("v2 binary", INFER, v2_binary, 16),
    Dialect("v2 binary, an id each", INFER, v2_with_id, 16),
    Dialect("v2 JSON", INFER, v2_json),
    Dialect("v1 JSON", V1, v1),
)


def main(
    rounds: Annotated[int, typer.Option(min=1, max=100)] = 4,
    seconds: Annotated[int, typer.Option(min=1, max=600, help="Per dialect and round")] = 3,
    clients: Annotated[int, typer.Option(min=1, max=10_000)] = 32,
    assets: Annotated[Path, typer.Option(help="Where the workloads lie")] = FOLDER,
) -> None:
    """Measure each dialect in turn, so often; print medians."""
    made = Assets(assets)
    rows = [json.loads(body)["inputs"] for body in made.bodies(NAME)]
    setup = SETUPS[NAME][0]
    costs: dict[str, list[float]] = {dialect.name: [] for dialect in DIALECTS}
    rates: dict[str, list[float]] = {dialect.name: [] for dialect in DIALECTS}
    with TemporaryDirectory() as folder, started(setup, workload(NAME), made, FOLDER) as server:
        base = server.url.removesuffix(PREDICT)
        if base == server.url or ask(server.url, made.bodies(NAME)[0], 30)[0] != 200:
            raise BenchError("the service does not answer", where=server.url)
        for number in track(range(rounds), "rounds"):
            start = number % len(DIALECTS)
            for dialect in (*DIALECTS[start:], *DIALECTS[:start]):
                load, cost_us = measure_one(
                    server, base, dialect, rows, Path(folder), clients, seconds
                )
                costs[dialect.name].append(cost_us)
                rates[dialect.name].append(load.requests_per_s)
    Console().print(table(costs, rates))


def measure_one(
    server: Running, base: str, dialect: Dialect, rows: Sequence[Row], folder: Path, clients: int,
    seconds: int,
) -> tuple[Load, float]:  # fmt: skip
    """A dialect's load, and its CPU in microseconds a request. Raises BenchError on a failure."""
    bodies = [dialect.body(number, row) for number, row in enumerate(rows)]
    framing = None
    if dialect.tensor_bytes:
        size = len(bodies[0])
        header = ("Inference-Header-Content-Length", str(size - dialect.tensor_bytes))
        framing = Framing(header, [size] * len(bodies))
    file = folder / "bodies"
    file.write_bytes((b"" if framing else b"\n").join(bodies))
    url = base + dialect.path
    run_wrk(url, file, clients, WARM_UP_S, framing=framing)
    load, cost = measure(url, file, server.tree, clients, seconds, framing=framing)
    if load.failed or not load.answered:
        raise BenchError(f"{load.failed} of {load.answered} requests failed", where=dialect.name)
    return load, cost.cpu_ms_per_request * 1000


def table(costs: dict[str, list[float]], rates: dict[str, list[float]]) -> Table:
    """Medians, the range of the costs, and how they compare with the native dialect's."""
    first = median(next(iter(costs.values())))
    sheet = Table("dialect", "CPU µs/request", "least to most", "of native", "requests/s")
    for name, found in costs.items():
        sheet.add_row(
            name,
            f"{median(found):.1f}",
            f"{min(found):.1f} to {max(found):.1f}",
            f"{median(found) / first:.2f}",
            f"{median(rates[name]):,.0f}",
        )
    return sheet


if __name__ == "__main__":
    run(main)
