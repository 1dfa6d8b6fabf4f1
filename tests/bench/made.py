"""Measurements whose every figure is known, and reports of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from inferctl.bench.figures import BatchBucket, ClientFigures, ServerFigures, latency_of
from inferctl.bench.gpus import GpuFigures
from inferctl.bench.measurement import Load, Measurement, Window
from inferctl.bench.plan import Inputs
from inferctl.bench.report.making import make_report
from inferctl.bench.report.record import Report, Service
from inferctl.bench.slo import Slo
from inferctl.bench.target import Served, Target

UNKNOWN = ServerFigures(None, None, None, None, None, None, None, None, None)
BUCKETS = [
    BatchBucket(1, 1, 1),
    BatchBucket(2, 2, 0),
    BatchBucket(3, 4, 64),
    BatchBucket(5, None, 32),
]
# Of a request of 8 ms on the server: 1 + 2 + 3 + 0.5 are told apart, 1.5 are not.
KNOWN = replace(
    UNKNOWN,
    batches=97,
    mean_batch_rows=3.25,
    batch_histogram=BUCKETS,
    decode_mean_ms=1.0,
    queue_mean_ms=2.0,
    run_mean_ms=3.0,
    postprocess_mean_ms=0.5,
    request_mean_ms=8.0,
    cpu_ms_per_request=2.5,
    resident_bytes_by_role={"engine": 300 * 2**20, "worker": 100 * 2**20},
    gpus=[GpuFigures("0", 0.5, 2**30, 2**32, 70.0)],
)
SERVICE = Service("0.1.0", "1.32.0", "fp32", "cpu", None, 2, 1, 32, 64, [])
INPUTS = Inputs("made up", 16, 16, 9.5)
TARGET = Target("http://h:1", Served(name="shapes", version=3, task="image-detection"))


def window(
    latencies_ms: Sequence[float] | npt.NDArray[np.float64],
    begun_s: float = 2.0,
    duration_s: float = 1.0,
    errors: dict[str, int] | None = None,
    server: ServerFigures = KNOWN,
    cores: float | None = 0.5,
) -> Window:
    """Answers that came at even distances."""
    values = np.asarray(latencies_ms, np.float64)
    if server.batches and server.requests_by_outcome is None:
        server = replace(server, requests_by_outcome={"ok": len(values)})
    return Window(
        begun_s=begun_s,
        duration_s=duration_s,
        client=ClientFigures(
            answered=len(values),
            throughput_per_s=len(values) / duration_s,
            latency=latency_of(values) if len(values) else None,
            errors=errors or {},
            outside_window=0,
        ),
        server=server,
        generator_cpu_cores=cores,
        latencies_ms=values,
        begins_s=np.linspace(0, duration_s, len(values), endpoint=False),
    )


def measurement(
    *windows: Window,
    load: Load | None = None,
    stable: bool = True,
    limited: str | None = None,
    interrupted: bool = False,
) -> Measurement:
    """Of 8 users, if nothing else is said."""
    return Measurement(load or Load(users=8), windows, stable, limited, interrupted)


def report(
    *measurements: Measurement, service: Service | None = SERVICE, slo: Slo | None = None
) -> Report:
    """Of one window with latencies of 1 to 100 ms, if nothing else is said."""
    loads = measurements or (measurement(window(np.arange(1.0, 101.0))),)
    return make_report(TARGET, INPUTS, loads, warmup_s=2.0, service=service, slo=slo)


def noisy(
    seed: int, *, slower: float = 1.0, windows: int = 10, load: Load | None = None,
    moments: int | None = None, noise: float = 0.03,
) -> Measurement:  # fmt: skip
    """Windows on a machine whose speed drifts, as the windows of a real one do.

    The speed is a random walk that starts anywhere within a third; the generator's CPU per request
    follows it, and each window has noise of its own. What has the same `moments` was measured by
    turns.
    """
    random = np.random.default_rng(seed)
    walk = np.random.default_rng(1000 + (seed if moments is None else moments))
    drift = walk.normal(0, 0.1) + np.cumsum(walk.normal(0, 0.05, windows))
    found = []
    for number in range(windows):
        scale = slower * float(np.exp(drift[number] + random.normal(0, noise)))
        latencies_ms = 8 * scale * random.lognormal(0, 0.25, max(int(400 / scale), 1))
        effort = float(np.exp(drift[number] + random.normal(0, 0.02)))
        cores = 0.0005 * effort * len(latencies_ms)
        found.append(window(latencies_ms, 2.0 + number, cores=cores))
    return measurement(*found, load=load)
