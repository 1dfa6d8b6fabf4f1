"""What onnxruntime gives on the device by itself, in three ways."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from inferctl.bundles.manifest import GRAPH_FILE, Manifest
from inferctl.engine.cuda import Cuda, Memory
from inferctl.engine.placement import CudaUse
from inferctl.engine.session import NoKernel, Session, graph_options, new_options
from inferctl.errors import StartError
from inferctl.settings import RuntimeSettings

Array = npt.NDArray[Any]

FEWEST_RUNS = 5
RUNTIME = RuntimeSettings(device="cuda")


@dataclass(frozen=True, slots=True)
class Point:
    """Milliseconds of a run of so many rows: by `session.run` with arrays of the host, with all
    bound to device memory, and as a graph of that; infinite where the model can have none."""

    rows: int
    tokens: int
    run_ms: float
    bound_ms: float
    graph_ms: float

    @property
    def ceiling(self) -> float:
        """Rows a second."""
        return 1e3 * self.rows / min(self.run_ms, self.bound_ms, self.graph_ms)


def ceilings(
    bundle: Path, cuda: Cuda, rows: Sequence[int], tokens: int, seconds: float
) -> Iterator[Point]:
    """Each size in turn, for so many seconds in each way."""
    manifest = Manifest.model_validate_json((bundle / "manifest.json").read_bytes())
    stream = cuda.stream()
    # As the engine has them.
    channels_last = manifest.image is not None and manifest.precision == "fp16"
    plain = Session(bundle / GRAPH_FILE, RUNTIME, 1, use=CudaUse(channels_last=channels_last))
    graphed: Session | None = None
    with suppress(StartError):
        use = CudaUse(stream, channels_last)
        graphed = Session(bundle / GRAPH_FILE, RUNTIME, 1, use=use)
    for number, count in enumerate(rows, 1):
        feeds = _feeds(manifest, count, tokens)
        held: list[Memory] = []
        inputs = {name: _placed(cuda, array, held) for name, array in feeds.items()}
        like = {
            tensor.name: np.zeros((count, *tensor.row_shape(tokens)), tensor.dtype)
            for tensor in manifest.outputs
        }
        outputs = {name: _placed(cuda, array, held) for name, array in like.items()}
        device = cuda.kind, cuda.device_id
        bound = plain.bind(inputs, outputs, *device)
        graph_ms = math.inf
        if graphed:
            graph = graphed.bind(inputs, outputs, *device)
            graph_ms = _ms(partial(graphed.run_bound, graph, graph_options(number)), seconds)
        plainly = new_options()
        yield Point(
            count,
            tokens,
            _ms(partial(plain.run, feeds), seconds),
            _ms(partial(plain.run_bound, bound, plainly), seconds),
            graph_ms,
        )


def _placed(cuda: Cuda, array: Array, held: list[Memory]) -> tuple[Array, int]:
    memory = cuda.device_memory(array.nbytes)
    cuda.upload(array, memory, stream := cuda.stream())
    cuda.wait(stream)
    held.append(memory)
    return array, memory.address


def _feeds(manifest: Manifest, rows: int, tokens: int) -> dict[str, Array]:
    random = np.random.default_rng(rows)
    feeds = {}
    for tensor in manifest.inputs:
        shape = (rows, *tensor.row_shape(tokens))
        most = 256 if tensor.dtype == "uint8" else 100
        feeds[tensor.name] = random.integers(0, most, shape).astype(tensor.dtype)
        if tensor.name == "attention_mask":
            feeds[tensor.name][:] = 1
    return feeds


def _ms(run: Callable[[], object], seconds: float) -> float:
    """The median of a run, after two that do not count; infinite where the device has none."""
    try:
        run(), run()
    except NoKernel:
        return math.inf
    took: list[float] = []
    end_s = time.perf_counter() + seconds
    while time.perf_counter() < end_s or len(took) < FEWEST_RUNS:
        begun_s = time.perf_counter()
        run()
        took.append(time.perf_counter() - begun_s)
    return float(np.median(took)) * 1e3
