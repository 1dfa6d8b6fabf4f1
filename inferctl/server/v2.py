"""The Open Inference Protocol but for inference: health, metadata, configuration, statistics."""

from __future__ import annotations

PROBES = ("/v2/health/live", "/v2/health/ready")
