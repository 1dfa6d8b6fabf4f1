"""Whether traces are made, and of which requests: by the variables that OpenTelemetry has for it.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/; where spans go,
and by what name, its exporter reads itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ENDPOINTS = ("otel_exporter_otlp_traces_endpoint", "otel_exporter_otlp_endpoint")
PARENT_BASED = "parentbased_"
ROOT_RATES = {"always_on": 1.0, "always_off": 0.0}
BY_RATIO = "traceidratio"


class Tracing(NamedTuple):
    """`rate` is the share of traces that are kept; one that a caller began is kept if the caller
    keeps it, where `follows_parent`."""

    follows_parent: bool = True
    rate: float = 1.0


def tracing_of(environment: Mapping[str, str | None]) -> Tracing | None:
    """What variables, by their names in lower case, say; None is to make no traces.

    As the specification has it, what cannot be understood counts as not set.
    """
    said = {name: (value or "").strip() for name, value in environment.items()}
    if not any(said.get(name) for name in ENDPOINTS):
        return None
    exporters = said.get("otel_traces_exporter", "").lower() or "otlp"
    if said.get("otel_sdk_disabled", "").lower() == "true" or "otlp" not in exporters.split(","):
        return None
    sampler = said.get("otel_traces_sampler", "").lower()
    root = sampler.removeprefix(PARENT_BASED)
    if root == BY_RATIO:
        return Tracing(root != sampler, _ratio(said.get("otel_traces_sampler_arg", "")))
    if root in ROOT_RATES:
        return Tracing(root != sampler, ROOT_RATES[root])
    return Tracing()


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        return 1.0
    return ratio if 0 <= ratio <= 1 else 1.0
