"""What a service says of itself: a real exposition of numbers that a test sets, and its health."""

from __future__ import annotations

from typing import Any

from inferctl.arena.ledger import Ledger
from inferctl.client.served import Health, health_of
from inferctl.observation import MetricsSettings
from inferctl.server.catalogue import Catalogue
from inferctl.server.metrics import Exposition
from inferctl.top.reading import Reading, reading_of
from tests.server.wiring import make_ledger

WORKER = Ledger.FIRST_WORKER


class Service:
    """Serves `mood`, of which 200 rows may be in flight; `block` is a worker's."""

    def __init__(self) -> None:
        self.ledger = make_ledger("mood")
        self.block = self.ledger.blocks[WORKER]
        self.counts("inferctl_slots", 200)
        self.uptime_s = 100.0
        self.last_restart: dict[str, Any] | None = None
        self.warnings: list[str] = []

    def answers(self, outcome: str = "ok", *, times: int = 1, latency_s: float = 0.004) -> None:
        self.block.cell("inference_requests_total", 0, outcome).add(times)
        for _ in range(times):
            self.block.histogram("inference_latency_seconds", 0).observe(latency_s)

    def runs(self, *rows: int) -> None:
        for count in rows:
            self.block.histogram("inference_batch_size", 0).observe(count)

    def counts(self, name: str, count: float, value: str = "") -> None:
        self.block.cell(name, 0, value).add(count)

    def is_started_again(self) -> None:
        """Nothing is as it was."""
        self.__init__()  # type: ignore[misc]
        self.uptime_s = 1.0

    def metrics(self) -> str:
        return Exposition(self.ledger, Catalogue(), MetricsSettings()).render().decode()

    def health(self) -> dict[str, Any]:
        """As `GET /health` answers."""
        mood = {
            "version": 3, "task": "text-classification", "state": "ready", "device": "cpu",
            "queue_rows": 0,
        }  # fmt: skip
        return {
            "status": "ok", "model_loaded": True, "models": {"mood": mood}, "device": None,
            "uptime_s": self.uptime_s, "warnings": self.warnings, "engine": "ready",
            "workers": 2, "queue_rows": 0, "last_restart": self.last_restart,
        }  # fmt: skip

    def reading(self, at_s: float = 0.0) -> Reading:
        return reading_of(self.metrics(), self.typed_health(), at_s)

    def typed_health(self) -> Health:
        return health_of(self.health())
