"""What OpenTelemetry's variables say of traces."""

from __future__ import annotations

import pytest

from inferctl.tracing import Tracing, tracing_of
from inferctl.variables import tracing

ENDPOINT = {"otel_exporter_otlp_endpoint": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (ENDPOINT, Tracing(True, 1.0)),
        ({"otel_exporter_otlp_traces_endpoint": "http://here/v1/traces"}, Tracing(True, 1.0)),
        ({"otel_exporter_otlp_endpoint": ""}, None),
        (ENDPOINT | {"otel_sdk_disabled": "TRUE"}, None),
        (ENDPOINT | {"otel_sdk_disabled": "1"}, Tracing()),
        (ENDPOINT | {"otel_traces_exporter": "none"}, None),
        (ENDPOINT | {"otel_traces_exporter": "console,otlp"}, Tracing()),
        ({"otel_service_name": "x"}, None),
    ],
)
def test_an_endpoint_switches_them_on(
    environment: dict[str, str], expected: Tracing | None
) -> None:
    assert tracing_of(environment) == expected


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        ("always_on", "", Tracing(False, 1.0)),
        ("always_off", "", Tracing(False, 0.0)),
        ("traceidratio", "0.25", Tracing(False, 0.25)),
        ("parentbased_always_on", "0.1", Tracing(True, 1.0)),
        ("parentbased_always_off", "", Tracing(True, 0.0)),
        ("parentbased_traceidratio", "0.5", Tracing(True, 0.5)),
        ("ParentBased_TraceIdRatio", " 0.5 ", Tracing(True, 0.5)),
        ("traceidratio", "", Tracing(False, 1.0)),
        ("traceidratio", "2", Tracing(False, 1.0)),
        ("traceidratio", "nan", Tracing(False, 1.0)),
        ("traceidratio", "half", Tracing(False, 1.0)),
        ("jaeger_remote", "", Tracing(True, 1.0)),
    ],
)
def test_the_sampler_is_the_one_that_is_named(
    sampler: str, argument: str, expected: Tracing
) -> None:
    names = {"otel_traces_sampler": sampler, "otel_traces_sampler_arg": argument}
    assert tracing_of(ENDPOINT | names) == expected


def test_they_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert tracing() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert tracing() == Tracing(False, 0.0)
