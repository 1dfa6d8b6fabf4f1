"""What a real Prometheus would find wrong with the metrics of a service: nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.e2e.multiples import NAME, Shelf
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

BODY = {"inputs": [1, 2, 3, 4]}
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
ANSWERED = f'inference_requests_total{{model="{NAME}",outcome="ok"}}'


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(tmp_path)
    shelf.put(1)
    return shelf


@pytest.fixture
def service(shelf: Shelf, tmp_path: Path) -> Iterator[Service]:
    with Service([str(shelf.models), "--port", "0", "--workers", "2"], tmp_path) as service:
        yield service


def ask(service: Service, times: int) -> None:
    for _ in range(times):
        assert service.post_json(f"/models/{NAME}/predict", BODY).status == 200


def test_promtool_finds_nothing_wrong(service: Service) -> None:
    if not (promtool := shutil.which("promtool")):
        pytest.skip("there is no promtool: on Debian it is in the package prometheus")
    ask(service, 3)
    service.post_json("/predict", {})
    service.request("/nowhere")
    text = service.request("/metrics").body
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, check=False
    )
    said = (checked.stdout + checked.stderr).decode()
    assert (checked.returncode, said) == (0, ""), text.decode()


def test_a_traced_request_is_found_in_open_metrics(service: Service) -> None:
    trace = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
    body = b'{"inputs": [1, 2, 3, 4]}'
    headers = {"Content-Type": "application/json", **trace}
    assert service.request(f"/models/{NAME}/predict", body, headers).status == 200
    answer = service.request("/metrics", headers={"Accept": "application/openmetrics-text"})
    traces = [
        sample.exemplar.labels["trace_id"]
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
        if sample.exemplar
    ]
    assert traces == [TRACE_ID]


@pytest.mark.row(108)
def test_no_count_is_lost_when_versions_and_processes_go(shelf: Shelf, service: Service) -> None:
    ask(service, 2)
    shelf.put(2)
    service.process.send_signal(signal.SIGHUP)
    service.wait_for_line("reloaded")
    ask(service, 3)
    for name in ("inferctl-worker", "inferctl-engine"):
        os.kill(service.pids(name)[0], signal.SIGKILL)
        service.wait_for_line("ready again", 1 if name.endswith("worker") else 2)
        assert service.metric(ANSWERED) == 5
    counts = [service.metric(f'{ANSWERED[:-1]},version="{version}"}}') for version in (1, 2)]
    assert counts == [2, 3]
