"""The result for people: a table of what was measured, the frontier, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from inferctl.bench.slo import Judged, is_met
from inferctl.tune.frontier import Spot, spots
from inferctl.tune.plot import BEST, CHOSEN, DOT, plot
from inferctl.tune.recommended import outranking
from inferctl.tune.run import Tuned
from inferctl.tune.space import Candidate

ROWS = 12


def render(tuned: Tuned) -> RenderableType:
    """The table, best first, the plot, and the verdict."""
    found = spots(tuned.probes)
    parts: list[RenderableType] = [Text(title(tuned), style="bold"), _table(tuned)]
    if found:
        parts.append(Text(plot(found, tuned.plan.slo.limit_ms, chosen_spot(tuned))))
        parts.append(Text(f"{DOT} measured  {BEST} frontier  {CHOSEN} recommended  --- the limit"))
    parts.append(Text(verdict(tuned), style="bold"))
    parts += [Text(f"Note: {note}", style="yellow") for note in notes(tuned)]
    return Group(*parts)


def title(tuned: Tuned) -> str:
    """What was done."""
    plan = tuned.plan
    before = f" beside {tuned.recalled} of before" if tuned.recalled else ""
    return (
        f"{plan.name}, {plan.slo}: {tuned.measured} measurements{before} of "
        f"{len(tuned.probes)} settings in {tuned.seconds:.0f} s; {tuned.pruned} more were ruled "
        "out by the cost curve"
    )


def ranked(tuned: Tuned) -> list[Candidate]:
    """Candidates by what they carry, the recommended one first."""
    rates = {one: tuned.rate_of(one) or 0.0 for one in tuned.probes}
    return sorted(rates, key=lambda one: (one != tuned.winner, -rates[one]))


def verdict(tuned: Tuned) -> str:
    """What is recommended and why, in a sentence."""
    winner, base, slo = tuned.winner, tuned.space.base, tuned.plan.slo
    if winner is None:
        return f"Nothing that was measured keeps {slo}."
    carries = f"{tuned.rate_per_s:,.4g}/s within {slo}"
    if winner == base:
        return f"Leave it as it is: {carries}, and nothing measured is better."
    if tuned.by_cost:
        return f"Take {winner.beside(base)}: the same {carries} with less CPU."
    before = tuned.rate_of(base)
    gain = f", against {before:,.4g}/s as it is" if before else ", which it does not keep as it is"
    return f"Take {winner.beside(base)}: {carries}{gain}."


def notes(tuned: Tuned) -> Iterator[str]:
    """What to beware of."""
    if tuned.by_cost:
        yield (
            "the load generator, beside the server on this machine, could offer no more: what the "
            "server carries is not known, and settings were compared by its CPU per request."
        )
    elif tuned.client_limited:
        yield (
            "beyond the recommended rate the load generator, beside the server on this machine, "
            f"may have been the limit ({tuned.client_limited}): the server may carry more."
        )
    if tuned.winner and not tuned.is_final:
        yield "there was no time to measure the winner beside what is set now; go on to have that."
    elif tuned.winner and not tuned.by_cost and not tuned.highest[tuned.winner].confirmed:
        yield "there was no time to narrow the rate down; the next few percent are not known."
    if tuned.winner and not tuned.ended:
        yield "not every neighbour of the winner was measured."
    if tuned.winner and (variables := ", ".join(outranking(tuned.plan, tuned.winner))):
        yield f"{variables} outranks the file that is written: unset it where that is served."


def chosen_spot(tuned: Tuned) -> Spot | None:
    """The recommended candidate at the highest rate that it carried."""
    if tuned.winner is None:
        return None
    at = [
        judged
        for judged in tuned.probes.get(tuned.winner, [])
        if judged.rate_per_s == tuned.rate_per_s and is_met([judged], tuned.plan.slo)
    ]
    return Spot(tuned.winner, at[-1]) if at else None


def _table(tuned: Tuned) -> Table:
    table = Table()
    percentile = f"p{tuned.plan.slo.percent:g} there"
    for name in ("settings", "carries", percentile, "server CPU", "measured"):
        table.add_column(name, justify="left" if name == "settings" else "right")
    order = ranked(tuned)
    for candidate in order[:ROWS]:
        table.add_row(*row(tuned, candidate))
    if len(order) > ROWS:
        table.add_row(f"and {len(order) - ROWS} that carry less", *[""] * 4, style="dim")
    return table


def row(tuned: Tuned, candidate: Candidate) -> tuple[str, str, str, str, str]:
    """A candidate's cells: settings, rate, latency and CPU at that rate, how often measured."""
    found, rate_per_s = tuned.probes[candidate], tuned.rate_of(candidate)
    at = [one for one in found if one.rate_per_s == rate_per_s]
    name = "as it is" if candidate == tuned.space.base else candidate.beside(tuned.space.base)
    return (
        name,
        f"{rate_per_s:,.4g}/s" if rate_per_s else f"< {_least(found):,.4g}/s",
        f"{at[-1].latency_ms:,.3g} ms" if at else "-",
        f"{at[-1].cpu_ms:,.3g} ms" if at and at[-1].cpu_ms is not None else "-",
        f"{len(found)} x",
    )


def _least(found: list[Judged]) -> float:
    return min(one.rate_per_s for one in found)
