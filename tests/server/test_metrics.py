"""The ledger in Prometheus' words."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from inferctl import __version__
from inferctl.arena.board import Gpu
from inferctl.arena.ledger import CPU_BASE_S, PID, Ledger
from inferctl.arena.metrics import METRICS
from inferctl.arena.placed import Placed
from inferctl.observation import MetricsSettings
from inferctl.proc import PAGE_BYTES, TICKS_PER_SECOND
from inferctl.server.catalogue import Catalogue
from inferctl.server.metrics import GPUS, SCRAPED, Exposition, onnxruntime_version
from inferctl.server.text import CONTENT_TYPE, OPEN_METRICS_CONTENT_TYPE, OPEN_METRICS_TYPE
from inferctl.tasks.images import EXAMPLE_PNG_B64
from tests.tasks.tinybundles import classifier, detector

from .asgi import get, post_json
from .wiring import SLOTS, make_ledger, working

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
CPU = "inferctl_process_cpu_seconds_total"
MEMORY = "inferctl_process_resident_memory_bytes"


def parsed(text: bytes) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum of the series that have these labels, and maybe more."""
    found = [
        one for (sample, own), one in samples.items()
        if sample == name and labels.items() <= dict(own).items()
    ]  # fmt: skip
    assert found, name
    return sum(found)


def told(ledger: Ledger, **settings: bool) -> bytes:
    """What is scraped of a service that serves nothing."""
    return Exposition(ledger, Catalogue(), MetricsSettings(**settings)).render()


def test_the_blocks_of_all_processes_are_summed() -> None:
    ledger = make_ledger("a", "b", workers=2)
    for block, count in ((ledger.blocks[2], 3), (ledger.blocks[3], 4)):
        block.cell("inference_requests_total", 0, "ok").add(count)
        block.cell("inferctl_in_flight", 1).set(count)
    samples = parsed(told(ledger))
    assert value(samples, "inference_requests_total", model="a", outcome="ok") == 7
    assert value(samples, "inference_requests_total", model="b", outcome="ok") == 0
    assert value(samples, "inferctl_in_flight", model="b") == 7


def test_a_histogram_counts_upwards_over_all_processes() -> None:
    ledger = make_ledger("a", workers=2)
    for block, rows in ((ledger.blocks[2], (1, 2, 3)), (ledger.blocks[3], (2, 999))):
        for count in rows:
            block.histogram("inference_batch_size", 0).observe(count)
    samples = parsed(told(ledger))
    counts = {
        bound: value(samples, "inference_batch_size_bucket", model="a", le=bound)
        for bound in ("1.0", "2.0", "4.0", "256.0", "+Inf")
    }
    assert counts == {"1.0": 1, "2.0": 3, "4.0": 4, "256.0": 4, "+Inf": 5}
    assert value(samples, "inference_batch_size_count", model="a") == 5
    assert value(samples, "inference_batch_size_sum", model="a") == 1007


def test_every_metric_has_its_help_and_type() -> None:
    text = told(make_ledger("a")).decode()
    for metric in (*METRICS, *(one for one in SCRAPED if one not in GPUS.values())):
        assert f"# HELP {metric.name} {metric.help}\n" in text
        assert f"# TYPE {metric.name} {metric.kind}\n" in text


def write_stat(proc: Path, pid: int, ticks: int, pages: int, command: str = "python") -> None:
    """The fields that proc(5) promises: 14 and 15 are CPU ticks, 24 is resident pages."""
    fields = ["0"] * 50
    fields[0], fields[1], fields[2] = str(pid), f"({command})", "S"
    fields[13], fields[14], fields[23] = str(ticks), str(ticks), str(pages)
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(" ".join(fields))


class System:
    """A ledger with one worker that seems to run as process 42."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.ledger = make_ledger()
        self.worker = self.ledger.blocks[Ledger.FIRST_WORKER]
        self.worker.state(PID).set(42)
        self._exposition = Exposition(self.ledger, Catalogue(), MetricsSettings(), proc)

    def read(self, name: str, role: str = "worker") -> float:
        return value(parsed(self._exposition.render()), name, role=role)


def test_the_system_s_account_of_a_process_is_read(tmp_path: Path) -> None:
    system = System(tmp_path)
    write_stat(tmp_path, 42, ticks=5 * TICKS_PER_SECOND, pages=3)
    assert system.read(CPU) == 10
    assert system.read(MEMORY) == 3 * PAGE_BYTES
    assert system.read(CPU, "engine") == 0


@pytest.mark.parametrize("command", ["a b", "(x) 1 2 3", ") ) )", "\n", "ä"])
def test_a_process_may_have_any_name(tmp_path: Path, command: str) -> None:
    system = System(tmp_path)
    write_stat(tmp_path, 42, ticks=TICKS_PER_SECOND, pages=1, command=command)
    assert system.read(CPU) == 2


def test_cpu_seconds_never_go_back(tmp_path: Path) -> None:
    system = System(tmp_path)
    write_stat(tmp_path, 42, ticks=5 * TICKS_PER_SECOND, pages=3)
    assert system.read(CPU) == 10
    (tmp_path / "42" / "stat").unlink()  # it died, and its account is not made yet
    assert system.read(CPU) == 10
    assert system.read(MEMORY) == 0
    system.worker.state(CPU_BASE_S).add(10.5)
    assert system.read(CPU) == 10.5
    system.worker.state(PID).set(43)
    write_stat(tmp_path, 43, ticks=TICKS_PER_SECOND, pages=1)
    assert system.read(CPU) == 12.5


def test_this_process_is_found_in_the_real_proc() -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc on this system")
    system = System(Path("/proc"))
    system.worker.state(PID).set(os.getpid())
    assert system.read(CPU) > 0
    assert system.read(MEMORY) > 1024 * 1024


async def test_the_exposition_matches_what_was_sent(tmp_path: Path) -> None:
    image = {"image_b64": EXAMPLE_PNG_B64}
    async with working(tmp_path, detector(), classifier()) as worker:
        for body in (image, image, image, {}):
            await post_json(worker.app, body, "/models/shapes/predict")
        answer = await get(worker.app, "/metrics")
    assert answer.headers["content-type"] == CONTENT_TYPE
    samples = parsed(answer.body)
    assert value(samples, "inference_requests_total", model="shapes", outcome="ok") == 3
    assert value(samples, "inference_requests_total", model="shapes", outcome="unprocessable") == 1
    assert value(samples, "inference_latency_seconds_count", model="shapes") == 4
    assert value(samples, "inferctl_decode_seconds_count", model="shapes") == 3
    decoding_s = value(samples, "inferctl_decode_seconds_sum", model="shapes")
    assert 0 < decoding_s < value(samples, "inference_latency_seconds_sum", model="shapes")
    assert value(samples, "inferctl_queue_seconds_count", model="shapes") == 3
    assert value(samples, "inferctl_postprocess_seconds_count", model="shapes") == 3
    assert value(samples, "inference_requests_total", model="animals", outcome="ok") == 0
    assert value(samples, "inference_latency_seconds_count", model="animals") == 0
    assert value(samples, "inferctl_in_flight", model="shapes") == 0
    assert value(samples, "inferctl_engine_ready") == 1
    assert all(math.isfinite(number) for number in samples.values())


def test_each_version_has_series_of_its_own(ledger_of_versions: Ledger) -> None:
    samples = parsed(told(ledger_of_versions))
    ok = {
        labels["version"]: count
        for (name, pairs), count in samples.items()
        if name == "inference_requests_total"
        and (labels := dict(pairs))["outcome"] == "ok"
        and labels["model"] == "a"
    }
    assert ok == {"1": 3, "2": 5}
    assert value(samples, "inferctl_requests_total", model="a", version="2", route="predict") == 5


def test_an_item_of_a_job_is_no_http_request(ledger_of_versions: Ledger) -> None:
    block = ledger_of_versions.blocks[Ledger.FIRST_WORKER]
    before = parsed(told(ledger_of_versions))
    for name in ("inference_requests_total", "inferctl_job_items_total"):
        block.cell(name, 1, "ok").add(2)
    samples = parsed(told(ledger_of_versions))

    def grown(name: str) -> float:
        return value(samples, name, outcome="ok") - value(before, name, outcome="ok")

    assert value(samples, "inferctl_job_items_total", model="a", outcome="ok") == 2
    assert grown("inference_requests_total") == 2
    assert grown("inferctl_requests_total") == 0


def test_places_of_the_same_version_are_one(ledger_of_versions: Ledger) -> None:
    """It is loaded anew with other settings, beside itself."""
    ledger_of_versions.give_place(2, "a", 2)
    ledger_of_versions.blocks[2].cell("inference_requests_total", 2, "ok").add(4)
    ledger_of_versions.blocks[1].cell("inferctl_max_batch_rows", 2).set(4)
    samples = parsed(told(ledger_of_versions))
    assert value(samples, "inference_requests_total", model="a", version="2", outcome="ok") == 9
    assert value(samples, "inferctl_max_batch_rows", model="a", version="2") == 5


def test_a_version_that_is_gone_keeps_its_counters_and_has_no_gauges(
    ledger_of_versions: Ledger,
) -> None:
    ledger_of_versions.leave_place(0)
    samples = parsed(told(ledger_of_versions))
    assert value(samples, "inference_requests_total", model="a", version="1", outcome="ok") == 3
    versions = {dict(labels)["version"] for name, labels in samples if name.endswith("batch_rows")}
    assert versions == {"2"}


@pytest.fixture
def ledger_of_versions() -> Ledger:
    """Two versions of a model, which differ in what they counted."""
    ledger = make_ledger("a")
    ledger.give_place(1, "a", 2)
    for place, count in enumerate((3, 5)):
        ledger.blocks[2].cell("inference_requests_total", place, "ok").add(count)
        ledger.blocks[1].cell("inferctl_max_batch_rows", place).set(count)
    return ledger


GPU = Gpu(0, "GPU-1", "NVIDIA H100", 3, 80, 0.25, 70.5, 700.0, 1.5, None)


def test_a_gpu_is_told_of_as_far_as_it_is_known() -> None:
    ledger = make_ledger("a")
    assert b"gpu" not in told(ledger)
    ledger.board.write([GPU], time.monotonic())
    samples = parsed(told(ledger))
    labels = {"gpu": "0", "uuid": "GPU-1"}
    assert value(samples, "inferctl_gpu_memory_used_bytes", **labels) == 3
    assert value(samples, "inferctl_gpu_memory_total_bytes", **labels) == 80
    assert value(samples, "inferctl_gpu_utilization_ratio", **labels) == 0.25
    assert value(samples, "inferctl_gpu_power_watts", **labels) == 70.5
    assert "temperature" not in str(samples)


async def test_triton_s_names_are_there_for_who_asks(tmp_path: Path) -> None:
    image = {"image_b64": EXAMPLE_PNG_B64}
    async with working(tmp_path, detector()) as worker:
        for body in (image, image, {}):
            await post_json(worker.app, body, "/predict")
        assert b"nv_" not in worker.exposition.render()
        worker.ledger.blocks[1].cell("inferctl_rows_total").add(2)
        worker.ledger.blocks[1].histogram("inference_batch_size", 0).observe(2)
        worker.ledger.board.write([GPU], time.monotonic())
        samples = parsed(told(worker.ledger, nv_names=True))
    # The parser calls every counter so.
    assert value(samples, "nv_inference_request_success_total", model="shapes", version="3") == 2
    assert value(samples, "nv_inference_request_failure_total", reason="OTHER") == 1
    assert value(samples, "nv_inference_request_failure_total", reason="REJECTED") == 0
    assert value(samples, "nv_inference_count_total") == 2
    assert value(samples, "nv_inference_exec_count_total") == 1
    decoding_us = value(samples, "nv_inference_compute_input_duration_us_total")
    assert 0 < decoding_us < value(samples, "nv_inference_request_duration_us_total")
    assert value(samples, "nv_gpu_utilization", gpu_uuid="GPU-1") == 0.25
    assert value(samples, "nv_energy_consumption_total", gpu_uuid="GPU-1") == 1.5


async def test_what_serves_is_told(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        before = parsed(worker.exposition.render())
        worker.ledger.placed.write({0: Placed("cuda:0,1", ("GPU-1", "GPU-2"))})
        samples = parsed(worker.exposition.render())
    model = {"model": "shapes", "version": "3", "task": "image-detection", "precision": "fp32"}
    assert value(before, "inferctl_model_info", **model, device="") == 1
    assert value(samples, "inferctl_model_info", **model, device="cuda:0,1") == 1
    runtime = {"version": __version__, "onnxruntime": onnxruntime_version()}
    assert value(samples, "inferctl_build_info", **runtime) == 1
    assert runtime["onnxruntime"]
    assert value(samples, "inferctl_slots", model="shapes") == SLOTS


TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(("flags", "kept"), [("01", {TRACE_ID}), ("00", set())])
async def test_a_slow_request_is_found_by_its_trace(
    tmp_path: Path, flags: str, kept: set[str]
) -> None:
    headers = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-{flags}"}
    async with working(tmp_path, detector()) as worker:
        await post_json(worker.app, {"image_b64": EXAMPLE_PNG_B64}, "/predict", headers=headers)
        answer = await get(worker.app, "/metrics", headers={"accept": OPEN_METRICS_TYPE})
    assert answer.headers["content-type"] == OPEN_METRICS_CONTENT_TYPE
    found = [
        (family.name, sample.exemplar.labels["trace_id"])
        for family in open_metrics(answer.body.decode())
        for sample in family.samples
        if sample.exemplar
    ]
    assert found == [("inference_latency_seconds", trace_id) for trace_id in kept]
