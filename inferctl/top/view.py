"""What is seen: the last figures, the last minute's rates, and since when nobody answers."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from inferctl.client import ClientError
from inferctl.top.rates import Figures, ModelFigures, figures_of
from inferctl.top.reading import Reading
from inferctl.top.wording import NONE, duration, memory, of_series, printable, shown, sparkline

HISTORY = 30
# Columns of a terminal that has room for the history too.
WIDE = 100
STATUS_STYLES = {"ok": "green", "starting": "yellow", "degraded": "red", "draining": "cyan"}


def _now() -> datetime:
    """Of this machine, in its own zone."""
    return datetime.now(UTC).astimezone()


class Screen:
    """A service, as it was seen so far."""

    def __init__(self, url: str, footer: str = "", now: Callable[[], datetime] = _now) -> None:
        self.figures: Figures | None = None
        self._url, self._footer, self._now = url, footer, now
        self._last: Reading | None = None
        self._error: ClientError | None = None
        self._lost_at: datetime | None = None
        self._rates: defaultdict[str, deque[float | None]] = defaultdict(
            lambda: deque(maxlen=HISTORY)
        )

    @property
    def is_lost(self) -> bool:
        """Whether it did not answer the last time."""
        return self._error is not None

    def take(self, reading: Reading) -> None:
        """It answered."""
        self._error = self._lost_at = None
        self.figures = figures_of(self._last, reading)
        self._last = reading
        for name, model in self.figures.models.items():
            self._rates[name].append(model.requests_per_s)

    def lose(self, error: ClientError) -> None:
        """It did not."""
        self._error = error
        self._lost_at = self._lost_at or self._now()
        for rates in self._rates.values():
            rates.append(None)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text | Table]:
        yield self._title()
        if self._error:
            yield self._loss(self._error)
        if self.figures:
            yield from _restart(self.figures)
            for warning in self.figures.health.warnings:
                yield Text(f"! {printable(warning)}", "yellow")
            yield Text()
            yield self._models(self.figures, options.max_width >= WIDE)
            yield Text()
            yield from _processes(self.figures)
        yield Text(f"\n{self._now():%H:%M:%S}{self._footer}", "dim")

    def _title(self) -> Text:
        title = Text.assemble(("inferctl top", "bold"), f"  {printable(self._url)}  ")
        if self.figures and not self.is_lost:
            health = self.figures.health
            style = STATUS_STYLES.get(health.status, "red")
            title.append(f"● {printable(health.status)}", style)
            title.append(f"  up {duration(health.uptime_s)}")
            title.append(f"  engine {printable(health.engine)}" if health.engine else "")
            title.append(f"  workers {health.workers}" if health.workers else "")
        return title

    def _loss(self, error: ClientError) -> Text:
        since = self._lost_at or self._now()
        lasts = duration((self._now() - since).total_seconds())
        return Text(
            f"● not reachable since {since:%H:%M:%S} ({lasts}): {printable(str(error))}", "red"
        )

    def _models(self, figures: Figures, is_wide: bool) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), style=self._style())
        table.add_column("model", no_wrap=True)
        columns = ("req/s", "err/s", "p50 ms", "p99 ms", "batch", "queue", "in flight", "lost/s")
        for name in columns:
            table.add_column(name, justify="right", no_wrap=True)
        if is_wide:
            table.add_column("req/s of late", no_wrap=True)
        for name, model in figures.models.items():
            cells: list[RenderableType] = [_name(name, figures), *_cells(model)]
            if is_wide:
                cells.append(Text(sparkline(self._rates[name]), "cyan"))
            table.add_row(*cells)
        return table

    def _style(self) -> str:
        return "dim" if self.is_lost else ""


def _name(name: str, figures: Figures) -> Text:
    told = Text(printable(name), "bold")
    state = figures.health.models.get(name)
    if state is None:
        return told.append(" not served", "not bold dim")
    told.append(f" v{state.version}", "not bold dim")
    if state.state != "ready":
        told.append(f" {printable(state.state)}", "not bold yellow")
    return told


def _cells(model: ModelFigures) -> Iterator[Text]:
    share = model.in_flight_share
    yield Text(shown(model.requests_per_s))
    yield _bad(model.errors_per_s)
    yield Text(shown(model.p50_ms))
    yield Text(shown(model.p99_ms))
    yield Text(shown(model.batch_rows))
    yield Text(shown(model.queue_rows, 0))
    yield Text(shown(model.in_flight, 0) + ("" if share is None else f" {shown(100 * share, 0)}%"))
    yield _bad(model.lost_per_s)


def _bad(per_s: float | None) -> Text:
    return Text(shown(per_s), "red" if per_s else "")


def _restart(figures: Figures) -> Iterator[Text]:
    if last := figures.health.last_restart:
        role, reason = printable(str(last.get("role"))), printable(str(last.get("reason")))
        ago = duration(float(last.get("ago_s", 0)))
        yield Text(f"last restart: {role}, {ago} ago ({reason})", "dim")


def _processes(figures: Figures) -> Iterator[Text]:
    """A line of each role, and of each GPU."""
    for role, process in figures.processes.items():
        cores = NONE if process.cores is None else f"{process.cores:.2f}"
        used = memory(process.resident_bytes)
        yield Text(f"{printable(role):<12} {cores:>6} cores  {used:>9}")
    for name, gauges in figures.gpus.items():
        told = ", ".join(of_series(series, value) for series, value in gauges.items())
        yield Text(f"GPU {printable(name)}: {printable(told)}")
