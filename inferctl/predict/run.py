"""A run: inputs go through a server or a bundle, and each outcome to its line, in order."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from inferctl.client import Detections, Options, Outcome
from inferctl.client.inputs import Input
from inferctl.errors import PredictError, UsageError
from inferctl.predict.drawing import Gallery
from inferctl.predict.inputs import Inputs, Named
from inferctl.predict.local import Local
from inferctl.predict.output import Results, line_of
from inferctl.predict.remote import Remote
from inferctl.predict.summary import Summary

HOST_AND_PORT = re.compile(r"[\w.-]+:[0-9]+/?")
CONCURRENCY = 8
# Option → the one task that knows it.
OPTION_OF = {
    "top_k": ("--top-k", "image-classification"),
    "confidence_threshold": ("--threshold", "image-detection"),
}

# Hears how many are done, of how many if that is known.
OnDone = Callable[[int, int | None], None]


class Source(Protocol):
    """What predicts: a server, or a bundle."""

    task: str

    def predict_many(self, inputs: Iterable[Input]) -> Iterator[Outcome]:
        """An outcome for each input, in their order."""

    def close(self) -> None:
        """Give back what it holds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `inferctl predict` was told; `concurrency` and `api_key` are for a server alone."""

    target: str
    inputs: tuple[str, ...]
    options: Options
    concurrency: int | None = None
    output: Path | None = None
    draw: Path | None = None
    api_key: str | None = field(default=None, repr=False)


def predict_all(plan: Plan, on_done: OnDone = lambda done, total: None) -> Summary:
    """Predict everything, and write it. What failed is in its line, and counted.

    Raises UsageError, BundleError or StartError before anything is written, OutputError, and
    PredictError when it ends early: then what is done is in the partial file.
    """
    with closing(_source(plan)) as source:
        check_options(plan.options, source.task)
        if plan.draw is not None and source.task != "image-detection":
            raise UsageError(
                f"the model's task, {source.task}, finds no boxes to draw", where="--draw"
            )
        inputs = Inputs(plan.inputs, source.task)
        gallery = None if plan.draw is None else Gallery(plan.draw)
        total, summary = inputs.total(), Summary()
        with Results(plan.output) as results:
            try:
                for named, outcome in _each(source, inputs):
                    results.write(line_of(named.name, outcome))
                    if gallery and isinstance(outcome, Detections):
                        gallery.add(Path(named.x), outcome)
                    summary.add(outcome)
                    on_done(summary.items, total)
            except KeyboardInterrupt:
                raise PredictError("interrupted" + _kept(summary, results)) from None
            except PredictError as error:
                what = error.what + _kept(summary, results)
                raise PredictError(what, where=error.where, hint=error.hint) from None
        return summary


def _each(source: Source, inputs: Iterable[Named]) -> Iterator[tuple[Named, Outcome]]:
    """Every input with its outcome; no more of them are held than the source takes ahead."""
    asked: deque[Named] = deque()

    def taken() -> Iterator[Input]:
        for named in inputs:
            asked.append(named)
            yield named.x

    for outcome in source.predict_many(taken()):
        yield asked.popleft(), outcome


def _kept(summary: Summary, results: Results) -> str:
    place = f" in {results.partial}" if results.partial else ""
    return f" after {summary.items} items, which are{place or ' written'}"


def _source(plan: Plan) -> Source:
    target, path = plan.target, Path(plan.target)
    if "://" in target or (HOST_AND_PORT.fullmatch(target) and not path.exists()):
        return Remote(target, plan.options, plan.concurrency or CONCURRENCY, plan.api_key)
    for flag, given in (
        ("--concurrency", plan.concurrency),
        ("--timeout", plan.options.get("timeout_s")),
    ):
        if given is not None:
            raise UsageError("this is for a server only", where=flag, hint="leave it out")
    return Local(path, plan.options)


def check_options(options: Mapping[str, object], task: str) -> None:
    """Raises UsageError for one that the task does not know."""
    for name, (flag, of_task) in OPTION_OF.items():
        if options.get(name) is not None and task != of_task:
            raise UsageError(f"the model's task, {task}, does not know this", where=flag)
