"""Spans of a real service arrive at a real collector, and without one nothing is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from inferctl.server.call import PHASES
from tests.collector import Collector, collecting, values
from tests.e2e.multiples import NAME, Shelf
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

REQUESTS, CLIENTS = 24, 8
Serve = Callable[..., Service]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a service of one small model, in an environment with these variables too."""
    shelf = Shelf(tmp_path)
    shelf.put(1)
    services: list[Service] = []

    def serve_it(*arguments: str, **variables: str) -> Service:
        command = [str(shelf.models), "--port", "0", "--workers", "2", *arguments]
        services.append(Service(command, tmp_path, environment=os.environ | variables))
        services[-1].wait_until_ready()
        return services[-1]

    yield serve_it
    for service in services:
        assert service.stop() == 0, "".join(service.lines)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def trace_of(number: int) -> str:
    return f"{number + 1:032x}"


def ask(service: Service, number: int, flags: str = "01") -> int:
    headers = {
        "Content-Type": "application/json",
        "traceparent": f"00-{trace_of(number)}-{number + 1:016x}-{flags}",
    }
    body = json.dumps({"inputs": [number, 2, 3, 4]}).encode()
    return service.request(f"/models/{NAME}/predict", body, headers).status


def test_every_sampled_request_has_its_spans_in_its_trace_and_its_batch(
    serve: Serve, collector: Collector
) -> None:
    """The last ones are sent when the service ends."""
    service = serve(
        "--set", "batching.max_wait_ms=50",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SERVICE_NAME="multiplier",
    )  # fmt: skip
    with ThreadPoolExecutor(CLIENTS) as clients:
        statuses = clients.map(lambda number: ask(service, number), range(REQUESTS))
        assert set(statuses) == {200}
    assert ask(service, REQUESTS, flags="00") == 200
    assert service.metric("inferctl_spans_dropped_total") == 0
    assert service.stop() == 0

    assert len(collector.spans) == REQUESTS * (1 + len(PHASES))
    assert {resource["service.name"] for resource in collector.resources} == {"multiplier"}
    servers = {
        span.trace_id.hex(): span
        for span in collector.spans
        if span.parent_span_id[:7] == b"\0" * 7
    }
    assert sorted(servers) == [trace_of(number) for number in range(REQUESTS)]
    children = Counter[tuple[str, str]]()
    for span in collector.spans:
        server = servers[span.trace_id.hex()]
        if span is not server:
            assert span.parent_span_id == server.span_id
            children[span.trace_id.hex(), span.name] += 1
    assert set(children) == {(trace, phase) for trace in servers for phase in PHASES}
    check_batches([values(span.attributes) for span in collector.spans if span.name == "inference"])
    check_log(service.folder / "logs" / "requests.log", set(servers))


def check_batches(runs: list[dict[str, Any]]) -> None:
    """One more row than has spans: that request was not sampled."""
    batches = Counter(batch for run in runs for batch in run["inferctl.batch_id"])
    sizes = {run["inferctl.batch_id"][0]: run["inferctl.batch_rows"] for run in runs}
    assert max(sizes.values()) > 1, "some ran together"
    assert batches == sizes


def check_log(path: Path, traces: set[str]) -> None:
    logged = [json.loads(line) for line in path.read_text().splitlines()]
    assert {entry["trace_id"] for entry in logged} == traces | {trace_of(REQUESTS)}


def test_a_service_whose_extra_is_missing_says_so_once_and_serves(
    serve: Serve, collector: Collector, tmp_path: Path
) -> None:
    sdk = tmp_path / "absent" / "opentelemetry" / "sdk"
    sdk.mkdir(parents=True)
    (sdk / "__init__.py").write_text("raise ModuleNotFoundError('absent', name=__name__)")
    path = os.pathsep.join([str(tmp_path / "absent"), os.environ.get("PYTHONPATH", "")])
    service = serve(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, PYTHONPATH=path)
    assert ask(service, 1) == 200
    assert service.stop() == 0
    (line,) = (line for line in service.lines if "OTEL" in line)
    assert "pip install 'inferctl[otel]'" in line
    assert collector.spans == []


def test_without_traces_nothing_of_the_extra_is_imported(tmp_path: Path) -> None:
    """FastAPI needs OpenTelemetry's API, which does nothing by itself."""
    code = (
        "import sys; from inferctl.server.worker import Prototype; "
        "from inferctl.settings import ServerSettings; from inferctl.variables import tracing; "
        "Prototype([], ServerSettings(), tracing()); "
        "extra = ('opentelemetry.sdk', 'opentelemetry.exporter', 'google.protobuf', 'requests'); "
        "print([name for name in extra if name in sys.modules])"
    )
    off = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | off, cwd=tmp_path,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ended.stdout == "[]\n"
