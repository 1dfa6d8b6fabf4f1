"""What is simulated: policies by rate, overload, instances and buckets, texts of unlike length."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmarks.report import Sheet, number
from benchmarks.simulation import Device, Door, Outcome, Simulation
from benchmarks.traffic import Closed, Poisson
from inferctl.engine.batcher import Batcher

ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
# What a manifest says by default; a larger batch that is set by hand is one more bucket.
DEFAULT_BUCKETS = (1, 2, 4, 8, 16, 32, 128)
TOKEN_BUCKETS = (16, 32, 48, 64)
# Texts of the text workload, tokens.
LENGTHS = (7, 63)
# So much more than it can serve, and a deadline that comes before the queue is full.
OVERLOAD, OVERLOAD_TIMEOUT_S = 1.5, 0.05
# Between an answer and the client's next row.
PAUSE_S = 0.0005
PATIENCE_S = 60.0
CLIENTS = (32, 128)
# MiniLM on one core of the project's machine: 5.2 ms for a row of 35 tokens with little padding;
# what dispatching a batch costs there (`DISPATCH_S`).
CPU = Device(fixed_s=450e-6, token_s=0.14e-3, shared=False)
CPU_INSTANCES, CPU_SECONDS = 2, 60.0


class Policy(NamedTuple):
    """A batching policy; a window of 0 is idle-first."""

    label: str
    max_rows: int
    window_s: float = 0.0


POLICIES = (
    Policy("no batching", 1),
    Policy("10 ms window, 32", 32, 0.010),
    Policy("idle-first, 32", 32),
    Policy("10 ms window, 128", 128, 0.010),
    Policy("idle-first, 128", 128),
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What all simulations of a command share."""

    device: Device
    seconds: float
    seed: int
    timeout_s: float
    instances: int = 1

    def fitting(self, policy: Policy) -> Device:
        """The device with the buckets that the policy's largest batch leaves."""
        buckets = tuple(rows for rows in self.device.row_buckets if rows <= policy.max_rows)
        return replace(self.device, row_buckets=buckets)

    def open_loop(self, policy: Policy, rate: float, door: Door | None = None) -> Outcome:
        """Rows at a rate; the door as it is, unless another one is given."""
        device = self.fitting(policy)
        run_s = device.run_s(policy.max_rows)
        row_s = run_s / policy.max_rows / self.instances
        return Simulation(
            batcher=Batcher(policy.max_rows, policy.window_s, run_s),
            device=device,
            traffic=Poisson(rate, self.seconds, self.seed),
            seconds=self.seconds,
            timeout_s=self.timeout_s,
            instances=self.instances,
            door=door or Door(row_s=row_s),
        ).outcome


Found = dict[tuple[float, Policy], Outcome]


def by_rate(bench: Bench, rates: Iterable[float]) -> Found:
    """Every policy at every rate."""
    return {(rate, policy): bench.open_loop(policy, rate) for rate in rates for policy in POLICIES}


def rate_sheets(found: Found) -> Iterator[Sheet]:
    """A row for each rate, a column for each policy."""
    figures: tuple[tuple[str, Callable[[Outcome], str]], ...] = (
        ("Answered in time, rows/s (mean batch)", _throughput),
        ("Latency in the engine, p50 / p99 / p99.9 ms", latency),
    )
    rates = sorted({rate for rate, _ in found})
    for title, figure in figures:
        rows = [
            (f"{rate:,.0f}", *(figure(found[rate, policy]) for policy in POLICIES))
            for rate in rates
        ]
        yield Sheet(title, ("rows/s", *(policy.label for policy in POLICIES)), rows)


def _throughput(outcome: Outcome) -> str:
    return f"{outcome.goodput:,.0f} ({number(outcome.mean_batch)})"


def latency(outcome: Outcome) -> str:
    """Three percentiles, ms."""
    return " / ".join(number(outcome.percentile_s(p) * 1000) for p in (50, 99, 99.9))


def overload_sheet(bench: Bench) -> Sheet:
    """Far too many rows, with and without what keeps late ones out: a row per rule."""
    bench = replace(bench, timeout_s=OVERLOAD_TIMEOUT_S)
    policies = [policy for policy in POLICIES if not policy.window_s]
    cells: dict[str, list[str]] = {}
    for policy in policies:
        run_s = bench.fitting(policy).run_s(policy.max_rows)
        row_s = run_s / policy.max_rows / bench.instances
        nobody, usual = Door(max_rows=sys.maxsize), Door(row_s=row_s)
        for rule, door in (("the batcher alone", nobody), ("with the door", usual)):
            outcome = bench.open_loop(policy, OVERLOAD / row_s, door)
            shares = (outcome.refused, outcome.dropped, outcome.late)
            fates = " / ".join(f"{share / outcome.arrived:.0%}" for share in shares)
            cells.setdefault(rule, []).append(f"{outcome.goodput * row_s:.0%} ({fates})")
    title = (
        f"Overload, {OVERLOAD} x the ceiling, deadline {OVERLOAD_TIMEOUT_S * 1000:.0f} ms: in time"
        " as a share of the ceiling (of all that came: refused / dropped / run too late)"
    )
    columns = ("rule", *(policy.label for policy in policies))
    return Sheet(title, columns, [(rule, *row) for rule, row in cells.items()])


def device_sheet(bench: Bench) -> Sheet:
    """Two instances at both extremes of what they overlap, and buckets with a gap."""
    small, large = (policy for policy in POLICIES if policy.label.startswith("idle-first"))
    one = replace(bench, instances=1)
    together, apart = (
        replace(bench, instances=2, device=replace(bench.device, overlap=overlap))
        for overlap in (1.0, 0.0)
    )
    gap = replace(one, device=replace(bench.device, row_buckets=DEFAULT_BUCKETS))
    variants = (
        ("32 rows, 1 instance", small, one),
        ("32 rows, 2 instances, the fixed part overlaps", small, together),
        ("32 rows, 2 instances, nothing overlaps", small, apart),
        ("128 rows, buckets 1 … 64, 128", large, one),
        ("128 rows, buckets 1 … 32, 128", large, gap),
    )
    rates = (2000, 10_000, 15_000)
    rows = [
        (label, *(_brief(variant.open_loop(policy, rate)) for rate in rates))
        for label, policy, variant in variants
    ]
    columns = ("device", *(f"{rate:,} rows/s" for rate in rates))
    return Sheet(
        "Instances and buckets, idle-first: rows/s in time (mean batch), p99", columns, rows
    )


def _brief(outcome: Outcome) -> str:
    return f"{_throughput(outcome)}, {number(outcome.percentile_s(99) * 1000)} ms"


class Rule(NamedTuple):
    """Which texts share a batch."""

    label: str
    max_padding: float
    by_cost: bool


RULES = (
    Rule("first come, max_padding 1", 1, by_cost=False),
    Rule("nearest in length, max_padding 0.99", 0.99, by_cost=False),
    Rule("max_padding 0.25", 0.25, by_cost=False),
    Rule("max_padding 0.25 and saved_s (default)", 0.25, by_cost=True),
    Rule("saved_s alone, max_padding 0.99", 0.99, by_cost=True),
)


def closed_loop(bench: Bench, rule: Rule, clients: int, max_rows: int = 32) -> Outcome:
    """Clients with texts of any length, as fast as they are answered."""
    sizes = [rows for rows in ROW_BUCKETS if rows <= max_rows]
    curve = bench.device.curve(sizes, TOKEN_BUCKETS)
    saved_s = curve.saved_s if rule.by_cost else None
    return Simulation(
        batcher=Batcher(max_rows, max_padding=rule.max_padding, saved_s=saved_s),
        device=bench.device,
        traffic=Closed(clients, LENGTHS, PAUSE_S, bench.seconds, bench.seed),
        seconds=bench.seconds,
        timeout_s=PATIENCE_S,
        instances=bench.instances,
    ).outcome


def text_sheet(bench: Bench, token_s: float) -> Sheet:
    """The same rules on a GPU, where a batch hardly costs more than a row, and on CPU cores."""
    gpu = replace(
        bench,
        device=replace(
            bench.device, token_s=token_s, row_buckets=ROW_BUCKETS, token_buckets=TOKEN_BUCKETS
        ),
    )
    cpu = replace(bench, device=CPU, instances=CPU_INSTANCES, seconds=CPU_SECONDS)
    loads = [
        (place, one, clients) for place, one in (("GPU", gpu), ("CPU", cpu)) for clients in CLIENTS
    ]
    found = [[closed_loop(one, rule, clients) for _, one, clients in loads] for rule in RULES]
    rows = [
        (
            rule.label,
            *(
                f"{one.goodput / base.goodput:.2f} x: {_brief(one)}"
                for one, base in zip(outcomes, found[0], strict=True)
            ),
        )
        for rule, outcomes in zip(RULES, found, strict=True)
    ]
    columns = ("rule", *(f"{place}, {clients} clients" for place, _, clients in loads))
    title = f"Texts of {LENGTHS[0]}-{LENGTHS[1]} tokens, closed loop: rows/s (mean batch), p99"
    return Sheet(title, columns, rows)
