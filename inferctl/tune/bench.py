"""A candidate's bench: its server, started, and the load generator on its URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from inferctl.bench.generator import loadtests_folder, require_locust
from inferctl.bench.measurement import Bench, Load
from inferctl.bench.plan import Plan as BenchPlan
from inferctl.bench.plan import Source, check_data
from inferctl.bench.run import opened
from inferctl.errors import BenchError
from inferctl.tune.late import Late
from inferctl.tune.live import Open
from inferctl.tune.plan import Plan
from inferctl.tune.serving import START_LIMIT_S, Serving, served_settings
from inferctl.tune.space import Candidate


def opener(plan: Plan) -> Open:
    """Serves candidates of a plan, each ended when it is left. Entering raises StartError.

    Raises UsageError or BenchError for what no candidate could be measured without.
    """
    require_locust()
    loadtests_folder()
    check_data(plan.data)

    @contextmanager
    def open_candidate(candidate: Candidate, limit_s: float) -> Iterator[Bench]:
        tree = served_settings(plan.settings, candidate, plan.slo.limit_ms)
        with Serving(tree, min(START_LIMIT_S, limit_s)) as serving, ExitStack() as stack:
            # The load and its times are those of each measurement.
            asked = BenchPlan(
                serving.url, candidate.variant.name, Load(users=1), windows=1, window_s=1.0,
                warmup_s=1.0, source=Source(plan.data),
            )  # fmt: skip
            try:
                bench = stack.enter_context(opened(asked))
            except BenchError as error:
                raise Late(f"a candidate is ready, and cannot be asked: {error}") from None
            yield bench

    return open_candidate
