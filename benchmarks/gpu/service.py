"""A service on the device under load, and what it, the cores and the device did meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pynvml

from benchmarks.answers import ask
from benchmarks.bodies import text_bodies, vision_bodies
from benchmarks.gpu.models import Bundle
from benchmarks.load import Framing, Load, measure, run_wrk
from benchmarks.peers.work import Array, open_session
from benchmarks.peers.work import load as load_work
from benchmarks.servers import HOST, Toml, free_port, toml_text, wait_for_answer
from benchmarks.tree import ProcessTree
from benchmarks.workloads import IMAGE_SIDE
from inferctl.bench.figures import server_figures
from inferctl.bench.target import find_target, scrape
from inferctl.bundles.manifest import GRAPH_FILE
from inferctl.device import device_of
from inferctl.errors import BenchError
from inferctl.tasks.decode import decode_base64

LOOK_EVERY_S = 0.1
LOAD_THREADS = 4
CHECKED, CHECK_THREADS = 32, 8
WARM_UP_S = 2
# fp16 on the device against fp32 or fp16 on the CPU: probabilities.
TOLERANCE = 2e-2
MAX_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Served:
    """A service that answers."""

    bundle: Bundle
    url: str
    tree: ProcessTree
    log_file: Path
    devices: int = 1

    def said(self) -> list[str]:
        """The lines of its log."""
        return self.log_file.read_text(errors="replace").splitlines()

    @property
    def predict(self) -> str:
        """Where its model answers."""
        return f"{self.url}/models/{self.bundle.name}/predict"


@dataclass(frozen=True, slots=True)
class Way:
    """How rows are sent: to a path, framed or as lines of JSON, so many rows a request."""

    name: str
    path: str
    bodies: Sequence[bytes]
    header: tuple[str, str] | None = None
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """A way under load: the cores that each role used, and NVML's utilisation of the GPU, 0..1."""

    way: str
    clients: int
    rows_per_s: float
    load: Load
    batch_rows: float
    gpu: float
    cores: dict[str, float]
    load_cores: float


@contextmanager
def served(bundle: Bundle, devices: int = 1, **runtime: str | int) -> Iterator[Served]:
    """Serve a bundle on the first of CUDA's devices, strictly. Raises BenchError when it does not
    answer."""
    port = free_port()
    own: Toml = {
        "runtime": {"device": device_of(range(devices)), **runtime},
        "limits": {"max_queue_rows": 4096},
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        config, log_file = folder / "gpu.toml", folder / "log"
        config.write_text(toml_text(bundle.folder.resolve(), port, own))
        command = [sys.executable, "-m", "inferctl", "serve", "--config", str(config)]
        with log_file.open("wb") as log:
            # There, since of two services in one folder the second one has no jobs.
            process = subprocess.Popen(
                command, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )
        tree = ProcessTree(process.pid)
        one = Served(bundle, f"http://{HOST}:{port}", tree, log_file, devices)
        try:
            try:
                wait_for_answer(process, one.predict, _first_body(bundle), log_file)
            except BenchError as error:
                said = [line for line in one.said() if line.strip()]
                raise BenchError(f"{error.what}: {' / '.join(said[-5:])}") from None
            yield one
        finally:
            one.tree.stop()
            process.wait()


def _first_body(bundle: Bundle) -> bytes:
    bodies = vision_bodies(1) if bundle.base == "vision" else text_bodies(1)
    return json.dumps(bodies[0]).encode()


def ways(bundle: Bundle) -> list[Way]:
    """Those that a model of this kind is asked in."""
    predict = f"/models/{bundle.name}/predict"
    if bundle.base == "text":
        return [Way("text", predict, [json.dumps(body).encode() for body in text_bodies()])]
    bodies = vision_bodies(32)
    jpegs = [decode_base64(body["image_b64"], MAX_BYTES) for body in bodies]
    return [
        _tensors(bundle, 1),
        _tensors(bundle, 8),
        Way("raw JPEG 640x480", predict, jpegs, ("Content-Type", "image/jpeg")),
        Way("base64 JPEG", predict, [json.dumps(body).encode() for body in bodies]),
    ]


def _tensors(bundle: Bundle, rows: int) -> Way:
    """v2's binary tensors, decoded by the client."""
    work: Any = load_work(bundle.folder, 1)
    images = [work.preprocess(body).tobytes() for body in vision_bodies(16)]
    asked = {
        "name": "image",
        "shape": [rows, IMAGE_SIDE, IMAGE_SIDE, 3],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": rows * len(images[0])},
    }
    document = {"inputs": [asked], "parameters": {"binary_data_output": True}}
    head = json.dumps(document, separators=(",", ":")).encode()
    bodies = [
        head + b"".join(images[(first + number) % len(images)] for number in range(rows))
        for first in range(8)
    ]
    header = ("Inference-Header-Content-Length", str(len(head)))
    return Way(f"v2 tensors, {rows} a request", infer_path(bundle), bodies, header, rows)


def check_answers(one: Served) -> float:
    """How far scores are from the CPU's at most, rows asked for together.

    Raises BenchError beyond the tolerance.
    """
    bodies = (vision_bodies if one.bundle.base == "vision" else text_bodies)(CHECKED)
    work: Any = load_work(one.bundle.folder, 1)
    rows = [_feeds(one.bundle, work.preprocess(body)) for body in bodies]
    cpu = open_session(one.bundle.folder / GRAPH_FILE, CHECK_THREADS)
    with ThreadPoolExecutor(CHECKED) as pool:
        found = list(pool.map(partial(_scores, one), rows))
    differences = [
        float(np.abs(cpu.run(None, row)[0] - scores).max())
        for row, scores in zip(rows, found, strict=True)
    ]
    if max(differences) > TOLERANCE:
        raise BenchError(f"a score is {max(differences):.3f} from the CPU's", where=one.url)
    return max(differences)


def _feeds(bundle: Bundle, item: Array) -> dict[str, Array]:
    if bundle.base == "vision":
        return {"image": item[None]}
    return {"input_ids": item[None], "attention_mask": np.ones_like(item)[None]}


def _scores(one: Served, feeds: dict[str, Array]) -> Array:
    inputs = [
        {
            "name": name,
            "shape": array.shape,
            "datatype": str(array.dtype).upper(),
            "data": array.ravel().tolist(),
        }
        for name, array in feeds.items()
    ]
    status, text = ask(
        f"{one.url}{infer_path(one.bundle)}", json.dumps({"inputs": inputs}).encode()
    )
    if status != 200:
        raise BenchError(f"answered {status} {text[:200]!r}", where=one.url)
    outputs = {output["name"]: output["data"] for output in json.loads(text)["outputs"]}
    return np.asarray(outputs["scores"])


def infer_path(bundle: Bundle) -> str:
    """Where the model takes v2's tensors."""
    return f"/v2/models/{bundle.name}/infer"


def load_with(one: Served, way: Way, clients: int, seconds: int) -> Outcome:
    """Load a service in one way, with so many clients for each device. Raises BenchError when a
    request fails."""
    clients *= one.devices
    framing = Framing(way.header, [len(body) for body in way.bodies]) if way.header else None
    with TemporaryDirectory() as folder:
        file = Path(folder) / "bodies"
        file.write_bytes((b"" if framing else b"\n").join(way.bodies))
        threads = min(LOAD_THREADS, clients)
        url = one.url + way.path
        run_wrk(url, file, clients, WARM_UP_S, framing=framing, threads=threads)
        target = find_target(one.url, one.bundle.name)
        before = scrape(target)
        with Utilisation(one.devices) as gpu:
            load, cost = measure(
                url, file, one.tree, clients, seconds, framing=framing, threads=threads
            )  # fmt: skip
        server = server_figures(before, scrape(target), one.bundle.name)
    if load.failed or not load.answered:
        raise BenchError(f"{load.failed} of {load.answered} requests failed", where=way.name)
    return Outcome(
        way.name, clients, load.requests_per_s * way.rows, load, server.mean_batch_rows or 0.0,
        gpu.mean, {role: cpu / seconds for role, cpu in (server.cpu_s_by_role or {}).items()},
        cost.load_cpu_s / seconds,
    )  # fmt: skip


class Utilisation:
    """NVML's utilisation of the first devices while the context is open, on average, 0..1."""

    def __init__(self, devices: int) -> None:
        pynvml.nvmlInit()
        self._devices = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(devices)]
        self._over = threading.Event()
        self._seen: list[float] = []
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Utilisation:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            for device in self._devices:
                self._seen.append(pynvml.nvmlDeviceGetUtilizationRates(device).gpu / 100)

    @property
    def mean(self) -> float:
        """Of all looks; 0 if there was none."""
        return fmean(self._seen) if self._seen else 0.0
