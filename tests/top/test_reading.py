"""An exposition becomes numbers, whatever labels it has besides those that count."""

from __future__ import annotations

from math import inf

import pytest

from inferctl.arena.ledger import CPU_BASE_S, Ledger
from inferctl.client import AsyncClient, UnexpectedAnswer
from inferctl.top.reading import Reading, read, reading_of
from tests.client.scripted import Answer, scripted
from tests.top.service import Service

VERSIONS = """\
# TYPE inference_requests counter
inference_requests_total{model="mood",version="1",outcome="ok"} 2
inference_requests_total{model="mood",version="2",outcome="ok"} 3
inference_requests_total{model="mood",version="2",outcome="malformed"} 1
# TYPE inference_latency_seconds histogram
inference_latency_seconds_bucket{model="mood",version="1",le="0.1"} 1
inference_latency_seconds_bucket{model="mood",version="1",le="+Inf"} 2
inference_latency_seconds_bucket{model="mood",version="2",le="0.1"} 4
inference_latency_seconds_bucket{model="mood",version="2",le="+Inf"} 4
inference_latency_seconds_sum{model="mood",version="1"} 0.5
inference_latency_seconds_sum{model="mood",version="2"} 0.25
# TYPE inferctl_gpu_memory_used_bytes gauge
inferctl_gpu_memory_used_bytes{gpu="0",uuid="GPU-1"} 1024
# TYPE inferctl_gpu_power_watts gauge
inferctl_gpu_power_watts{gpu="0",uuid="GPU-1"} 55
"""


def of(text: str) -> Reading:
    return reading_of(text, Service().typed_health(), 0.0)


def test_a_service_is_read() -> None:
    service = Service()
    service.answers(times=4, latency_s=0.02)
    service.answers("overloaded")
    service.runs(1, 3)
    service.counts("inferctl_shed_total", 1, "queue")
    service.counts("inferctl_shed_total", 2, "memory")
    service.counts("inferctl_dropped_total", 5, "expired")
    service.counts("inferctl_queue_rows", 7)
    service.counts("inferctl_in_flight", 9)
    service.ledger.blocks[Ledger.ENGINE].state(CPU_BASE_S).set(12.5)
    reading = service.reading()
    mood = reading.models["mood"]
    assert (mood.answered["ok"], mood.answered["overloaded"]) == (4, 1)
    assert (mood.shed, mood.dropped, mood.queue_rows) == (3, 5, 7)
    assert (mood.in_flight, mood.slots) == (9, 200)
    assert (mood.batch_rows.count, mood.batch_rows.total) == (2, 4)
    assert (mood.latency_s.buckets[0.01], mood.latency_s.buckets[inf]) == (1, 5)
    assert reading.processes["engine"].cpu_s == 12.5


def test_more_labels_are_summed_over() -> None:
    mood = of(VERSIONS).models["mood"]
    assert mood.answered == {"ok": 5, "malformed": 1}
    assert mood.latency_s.buckets == {0.1: 5, inf: 6}
    assert mood.latency_s.total == 0.75


def test_gpus_are_read_where_there_are_some() -> None:
    assert of(VERSIONS).gpus == {"0": {"memory_used_bytes": 1024, "power_watts": 55}}
    assert Service().reading().gpus == {}


@pytest.mark.parametrize("text", ["<html>", 'a{b="c} 1', "a b c"])
def test_what_is_no_exposition_is_said(text: str) -> None:
    with pytest.raises(UnexpectedAnswer, match="/metrics is not answered"):
        of(text)


async def test_both_are_asked_for() -> None:
    service = Service()
    answers = (Answer(content=service.metrics().encode()), Answer(content=service.health()))
    with scripted(*answers) as server:
        async with AsyncClient(server.url, api_key="key") as client:
            reading = await read(client)
        paths = [request.path for request in server.received]
        assert {request.headers["authorization"] for request in server.received} == {"Bearer key"}
    assert paths == ["/metrics", "/health"]
    assert reading.health.workers == 2
