"""Where the mean request's time goes: what the server counted, and the rest by difference."""

from __future__ import annotations

from dataclasses import dataclass

from inferctl.bench.report.record import LoadRecord

NETWORK, QUEUE, DECODE, INFERENCE, POSTPROCESS, OTHER = (
    "network and client", "queue", "decode", "inference", "postprocess", "rest of the server",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the mean request: its milliseconds, and its share, 0 to 1."""

    name: str
    ms: float
    share: float


def phases_of(load: LoadRecord) -> list[Phase]:
    """The parts of the client's mean latency, which they add up to; empty when nothing is known.

    Network and client are what the client saw and the server did not; in an open loop the wait for
    a free connection is among it. The rest of the server is what it does not count by itself. Each
    is 0 at least: the two sides' means are not of exactly the same requests.
    """
    server, latency = load.server, load.client.latency
    if latency is None or server.request_mean_ms is None:
        return []
    counted = {
        DECODE: server.decode_mean_ms or 0.0,
        QUEUE: server.queue_mean_ms or 0.0,
        INFERENCE: server.run_mean_ms or 0.0,
        POSTPROCESS: server.postprocess_mean_ms or 0.0,
    }
    parts = {
        NETWORK: max(latency.mean_ms - server.request_mean_ms, 0.0),
        **counted,
        OTHER: max(server.request_mean_ms - sum(counted.values()), 0.0),
    }
    total = sum(parts.values())
    # Batches' runs count once each, however many rows they have: together they may exceed the mean.
    factor = latency.mean_ms / total if total > latency.mean_ms else 1.0
    return [Phase(name, ms * factor, ms * factor / latency.mean_ms) for name, ms in parts.items()]


def largest(phases: list[Phase]) -> Phase | None:
    """The part that takes longest."""
    return max(phases, key=lambda phase: phase.ms, default=None)
