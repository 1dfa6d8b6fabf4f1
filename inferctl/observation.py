"""Settings of what a service says of itself: its request log and its metrics."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from inferctl.section import Section


class LogsSettings(Section):
    """Which requests are logged, where, and how."""

    path: str = Field(
        default="logs/requests.log", min_length=1, description='request log; "-" is stdout'
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description='"text" is for people; "auto" is that on a terminal, else JSON'
    )
    sample_rate: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="share of requests that is logged; those that failed or were slow always are",
    )
    slow_ms: float = Field(
        default=1000.0, ge=0, le=600_000, description="how long a request takes that was slow"
    )


class MetricsSettings(Section):
    """What /metrics tells besides the service's own numbers."""

    nv_names: bool = Field(
        default=False, description="the counters once more, by the names that Triton gives them"
    )
    gpu: bool = Field(
        default=True, description="memory, load, power and temperature of NVIDIA GPUs, by NVML"
    )
