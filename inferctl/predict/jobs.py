"""Jobs of a server: inputs become few of them, and their results lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from inferctl.client import Client, ClientError, JobOptions, PendingJobs
from inferctl.client.inputs import Input
from inferctl.errors import PredictError, UsageError
from inferctl.predict.inputs import Inputs
from inferctl.predict.run import OnDone, check_options

# A full queue is waited for as long.
SUBMIT_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Order:
    """What `inferctl jobs submit` was told, and what task the model has that it means."""

    url: str
    inputs: tuple[str, ...]
    task: str
    options: JobOptions


class Submitted(NamedTuple):
    """Jobs, and what the lines of their results are called."""

    jobs: PendingJobs
    names: list[str]


def submit_all(
    order: Order, client: Client, on_done: OnDone = lambda done, total: None
) -> Submitted:
    """Hand in everything, or nothing. Raises UsageError and PredictError."""
    check_options(order.options, order.task)
    inputs, names = Inputs(order.inputs, order.task), list[str]()
    total = inputs.total()

    def taken() -> Iterator[Input]:
        for named in inputs:
            yield named.x
            names.append(named.name)
            on_done(len(names), total)

    options: JobOptions = {**order.options, "timeout_s": SUBMIT_TIMEOUT_S}
    try:
        jobs = client.submit_many(taken(), **options)
    except ClientError as error:
        what = "; ".join((error.detail, *notes_of(error)))
        raise PredictError(what, where=order.url, hint=error.hint) from None
    if not jobs.items:
        raise UsageError("there is nothing to be done", where=", ".join(order.inputs))
    return Submitted(jobs, names)


def notes_of(error: BaseException) -> tuple[str, ...]:
    """What the client says of jobs that are left of a submission which ended early."""
    return tuple(getattr(error, "__notes__", ()))
