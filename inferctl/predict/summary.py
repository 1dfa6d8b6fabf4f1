"""What was predicted, in a few figures."""

from __future__ import annotations

from array import array
from collections import Counter
from pathlib import Path
from statistics import median

from rich.table import Table
from rich.text import Text

from inferctl.client import Classification, ClientError, Detections, Outcome, TextLabel
from inferctl.errors import PredictError

# A thousand classes are no summary.
MOST_LABELS = 20


class Summary:
    """Counts outcomes; `labels` are the answers of classifiers, and what detectors found."""

    def __init__(self) -> None:
        self.items = self.failed = 0
        self.labels: Counter[str] = Counter()
        self.latencies_ms = array("f")

    def add(self, outcome: Outcome) -> None:
        """One more."""
        self.items += 1
        if isinstance(outcome, ClientError):
            self.failed += 1
            return
        self.latencies_ms.append(outcome.latency_ms)
        if isinstance(outcome, Detections):
            self.labels.update(detection.label for detection in outcome)
        elif isinstance(outcome, Classification | TextLabel):
            self.labels[outcome.label] += 1

    def check(self, written_to: Path | None) -> None:
        """Raises PredictError if one failed."""
        if self.failed:
            raise PredictError(
                f"{self.failed} of {self.items} items failed",
                where=str(written_to or "standard output"),
                hint='their lines have an "error"',
            )

    def table(self, took_s: float) -> Table:
        """The figures for people."""
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_row("items", str(self.items))
        table.add_row("failed", str(self.failed), style="red" if self.failed else "")
        table.add_row("items/s", f"{self.items / took_s:.1f}" if took_s else "-")
        if self.latencies_ms:
            table.add_row("p50 latency", f"{median(self.latencies_ms):.1f} ms")
        for label, count in self.labels.most_common(MOST_LABELS):
            table.add_row(Text(label), str(count))
        if (others := len(self.labels) - MOST_LABELS) > 0:
            table.add_row(f"and {others} other labels", "")
        return table
