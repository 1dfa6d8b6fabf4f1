"""The measurement from plan to report, in the order in which it happens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from inferctl.bench.bodies import path_of, write_bodies
from inferctl.bench.course import Course, OnTick, Run, ignore
from inferctl.bench.generator import Generator, Offer, require_locust
from inferctl.bench.measurement import Load, Measurement
from inferctl.bench.offered import Offered
from inferctl.bench.plan import Inputs, Plan, check_data
from inferctl.bench.replay import write_arrivals
from inferctl.bench.report import Report, make_report, read_service
from inferctl.bench.shape import points_of
from inferctl.bench.target import Target, find_target
from inferctl.cores import available_cores

BODIES, RECORDS, ARRIVALS = "bodies", "records", "arrivals"


def bench(plan: Plan, on_tick: OnTick = ignore, api_key: str | None = None) -> Report:
    """Measure the server of `plan`, with a key if it wants one, and return the report.

    Raises UsageError for what the person can correct, and BenchError when the server is not there,
    the generator fails or no request was answered.
    """
    with opened(plan, on_tick, api_key) as found:
        measured = found.measure(
            plan.load,
            windows=plan.windows,
            window_s=plan.window_s,
            warmup_s=plan.warmup_s,
            until_stable=plan.until_stable,
        )
        service = read_service(found.target)
        return make_report(
            found.target, found.inputs, [measured], warmup_s=plan.warmup_s, service=service
        )


@contextmanager
def opened(
    plan: Plan, on_tick: OnTick = ignore, api_key: str | None = None
) -> Iterator[LocustBench]:
    """A bench for the server and inputs of `plan`. Raises as `bench`."""
    require_locust()
    check_data(plan.source.data)
    target = find_target(plan.url, plan.model, api_key, plan.ca)
    on_tick("prepare", 0.0, 0.0)
    with TemporaryDirectory(prefix="inferctl-bench-") as name:
        inputs = write_bodies(target, plan.source, Path(name) / BODIES)
        yield LocustBench(target, inputs, Path(name), plan, on_tick)


@dataclass
class LocustBench:
    """A target and bodies that are written; see `measurement.Bench`. `folder` has the bodies.

    Each load begins with as many processes as the one before was found to need.
    """

    target: Target
    inputs: Inputs
    folder: Path
    plan: Plan
    on_tick: OnTick = ignore
    _processes: int = field(default=1, init=False)

    def measure(
        self, load: Load, *, windows: int, window_s: float, warmup_s: float,
        until_stable: bool = False,
    ) -> Measurement:  # fmt: skip
        """Offer `load`; a Ctrl-C leaves the windows so far. Raises as the protocol has it."""
        course = Course(windows, window_s, warmup_s, until_stable)
        most = self.plan.processes or max(available_cores() // 2, 1)
        # Of a user there is no half.
        most = min(most, load.users or most)
        processes = self.plan.processes or min(self._processes, most)
        try:
            while True:
                shape = points_of(load.shape, warmup_s, windows * window_s)
                with self._generator(load, shape, processes) as generator:
                    run = Run(generator, self.target, load, course, self.on_tick)
                    if processes < most and run.is_too_much():
                        self._processes = processes = min(2 * processes, most)
                        continue
                    return run.measure()
        except KeyboardInterrupt:
            # Before there was any window.
            return Measurement(load, (), False, None, interrupted=True)

    @contextmanager
    def offering(self, load: Load) -> Iterator[Offered]:
        """Offer `load`, which has no shape, in turns with others. Raises BenchError."""
        with self._generator(load, "", self.plan.processes or 1) as generator:
            yield Offered(generator, self.target)

    @contextmanager
    def _generator(self, load: Load, shape: str, processes: int) -> Iterator[Generator]:
        """Its records are gone when it is left: those of a long search would fill the disk."""
        with TemporaryDirectory(prefix="run-", dir=self.folder) as name:
            arrivals = None
            if load.arrivals == "replay" and self.plan.replay is not None:
                arrivals = Path(name) / ARRIVALS
                write_arrivals(self.plan.replay, load.rate_per_s, arrivals)
            offer = Offer(
                self.target.url,
                path_of(self.target, self.plan.source.dialect),
                self.folder / BODIES,
                load,
                shape=shape,
                arrivals=arrivals,
                api_key=self.target.api_key,
                ca=self.plan.ca,
                connections=-(-self.plan.connections // processes),
            )
            records = Path(name) / RECORDS
            records.mkdir()
            with Generator(offer, records, processes) as generator:
                yield generator
