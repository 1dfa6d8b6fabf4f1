"""What whoever operates the service should know of it as it runs: each in a sentence, with what to
do.

They are for people who may not see the machine: whoever said them left folders out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from inferctl.arena.ledger import Ledger
from inferctl.arena.placed import Placed
from inferctl.cautions import of_fallback
from inferctl.server.catalogue import Catalogue
from inferctl.server.restarts import RECENT_S, caution_of, last_restart


def of_versions(catalogue: Catalogue) -> Iterator[str]:
    """Of what is not served though it should be, and of what may not be what was exported."""
    for version, reason in catalogue.roster.problems.items():
        yield f"{version} is not served: {reason}"
    for model in catalogue.models.values():
        for warning in model.offer.warnings:
            yield f"{model.name}: {warning}"


def of_devices(placed: Mapping[str, Placed]) -> Iterator[str]:
    """Of places that nobody asked for, and of GPUs that do not do all; `placed` by model."""
    yield from map(str, of_fallback(placed.items(), len(placed)))
    for name, one in placed.items():
        for device in one.left_out:
            yield f"{name} is not on {device}: free it, or name the others in runtime.device"
        if one.nodes_on_cpu:
            yield (
                f"{name} runs on the CPU in part: {', '.join(one.nodes_on_cpu)}: export it in "
                "another precision or opset if that is slow"
            )


def of_memory(ledger: Ledger, catalogue: Catalogue) -> Iterator[str]:
    """Of batches that were too large."""
    for model in catalogue.models.values():
        if cap := int(ledger.total("inferctl_batch_cap_rows", model.place)):
            yield (
                f"{model.name}: memory ran out, so batches have {cap} rows at most: lower "
                "batching.max_batch_rows to that, or free memory"
            )


def of_jobs(ledger: Ledger) -> Iterator[str]:
    """Of those that are lost."""
    if ledger.total("inferctl_job_store_recreated"):
        yield (
            "the job store was damaged when the service started, and is a new one: jobs of before "
            "are unknown now; the damaged files are beside it, in jobs.path"
        )


def of_the_past(ledger: Ledger) -> Iterator[str]:
    """Of what happened."""
    yield from of_jobs(ledger)
    if lost := int(ledger.total("inferctl_log_dropped_total")):
        yield f"{lost} lines of the request log were lost: is the disk full that logs.path is on?"
    restart = last_restart(ledger)
    if restart and restart.ago_s < RECENT_S:
        yield caution_of(restart)


def of_debugging() -> Iterator[str]:
    """Of an interpreter that checks more than it must."""
    if sys.flags.dev_mode:
        yield "Python's development mode makes it slow: start it without PYTHONDEVMODE and -X dev"
