"""What a Prometheus exposition says, and what changed between two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

# Every sample of an exposition, by its name and its sorted labels.
Scrape: TypeAlias = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read_metrics(text: str) -> Scrape:
    """Read a Prometheus text exposition. Raises ValueError when it is none."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Change:
    """Differences of counters; a series that a scrape lacks, or that went back, has none."""

    def __init__(self, before: Scrape | None, after: Scrape | None) -> None:
        # A series may come to life within the window, so one that only `after` has began at zero.
        # Without any scrape before, nothing is known of where it began.
        self._before = before or {}
        self._after = after if after and before is not None else {}

    def of(self, name: str, **labels: str) -> float | None:
        """The growth of the series that have these labels, of whatever versions, together."""
        now = having(self._after, name, labels)
        if not now:
            return None
        growth = sum(now) - sum(having(self._before, name, labels))
        return growth if growth >= 0 else None

    def by_label(self, name: str, label: str, **labels: str) -> dict[str, float] | None:
        """The growth of each series of a name, by the value of one label; None without any."""
        return self._by_label(name, label, lambda value: self.of(name, **labels, **{label: value}))

    def last_by_label(self, name: str, label: str) -> dict[str, float] | None:
        """The last value of each series of a gauge, by the value of one label; None without any."""
        return self._by_label(
            name, label, lambda value: sum(having(self._after, name, {label: value}))
        )

    def _by_label(
        self, name: str, label: str, of: Callable[[str], float | None]
    ) -> dict[str, float] | None:
        values = [dict(pairs).get(label) for series, pairs in self._after if series == name]
        known = {value: of(value) for value in dict.fromkeys(values) if value is not None}
        return {value: found for value, found in known.items() if found is not None} or None

    def good_request_s(self, model: str) -> float | None:
        """The mean of the requests answered well: of all, without those that failed."""
        total = self.of("inference_latency_seconds_sum", model=model)
        good = self.of("inference_requests_total", model=model, outcome="ok")
        failed = self.of("inferctl_failed_seconds_total", model=model) or 0.0
        return max(total - failed, 0.0) / good if total is not None and good else None

    def mean(self, histogram: str, model: str) -> float | None:
        """The mean of the values observed between the scrapes."""
        total = self.of(f"{histogram}_sum", model=model)
        count = self.of(f"{histogram}_count", model=model)
        return total / count if total is not None and count else None


def having(scrape: Scrape, name: str, labels: dict[str, str]) -> list[float]:
    """The values of a name's series that have these labels."""
    wanted = labels.items()
    return [
        value
        for (series, pairs), value in scrape.items()
        if series == name and wanted <= dict(pairs).items()
    ]
