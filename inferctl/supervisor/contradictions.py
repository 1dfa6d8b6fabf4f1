"""Settings that fit each their own rule, and not each other or this machine."""

from __future__ import annotations

from collections.abc import Iterator

from inferctl.cores import available_cores
from inferctl.errors import SettingsError
from inferctl.settings import ModelSettings, ServerSettings, Settings
from inferctl.supervisor.exposure import exposed
from inferctl.supervisor.limits import check_tasks

# More processes or threads than this for each core only wait for one another.
MAX_PER_CORE = 4


def planned_workers(settings: Settings) -> int:
    """How many workers there will be. Raises SettingsError when the settings contradict each other,
    StartError when the system lets the service have too little."""
    cores = available_cores()
    check_settings(settings, cores)
    workers = worker_count(settings.server, cores)
    check_tasks(workers, cores)
    return workers


def worker_count(server: ServerSettings, cores: int) -> int:
    """How many workers are asked for."""
    return cores if server.workers == "auto" else server.workers


def check_settings(settings: Settings, cores: int) -> None:
    """Before anything is bound or loaded. Raises SettingsError with a line for each contradiction.

    The global sections count even where every model has its own: what they say is meant.
    """
    own = ModelSettings(
        batching=settings.batching, limits=settings.limits, runtime=settings.runtime
    )
    everywhere = list(_of_model(own, settings.server, cores))
    problems = [*_of_server(settings.server, cores), *everywhere]
    for name in settings.models:
        alone = _of_model(settings.for_model(name), settings.server, cores)
        problems += [f"{name}: {problem}" for problem in alone if problem not in everywhere]
    if problems:
        raise SettingsError("\n".join(problems))


def check_model(name: str, own: ModelSettings, server: ServerSettings, cores: int) -> None:
    """Of one model, when it is loaded anew. Raises SettingsError as `check_settings`."""
    problems = [f"{name}: {problem}" for problem in _of_model(own, server, cores)]
    if problems:
        raise SettingsError("\n".join(problems))


def _of_server(server: ServerSettings, cores: int) -> Iterator[str]:
    yield from exposed(server)
    if server.request_timeout_ms > server.max_request_timeout_ms:
        yield (
            f"server.request_timeout_ms = {server.request_timeout_ms} is more than "
            f"server.max_request_timeout_ms = {server.max_request_timeout_ms}; "
            "raise the longest deadline or lower the usual one"
        )
    if server.workers != "auto" and server.workers > cores * MAX_PER_CORE:
        yield (
            f"server.workers = {server.workers} is more than {MAX_PER_CORE} for each of the "
            f'{cores} cores; take fewer, or "auto"'
        )


def _of_model(own: ModelSettings, server: ServerSettings, cores: int) -> Iterator[str]:
    batching, limits, runtime = own.batching, own.limits, own.runtime
    if batching.max_batch_rows != "auto" and batching.max_batch_rows > limits.max_queue_rows:
        yield (
            f"batching.max_batch_rows = {batching.max_batch_rows} is more than "
            f"limits.max_queue_rows = {limits.max_queue_rows}; raise the queue or lower the batch"
        )
    if batching.max_wait_ms >= server.request_timeout_ms:
        yield (
            f"batching.max_wait_ms = {batching.max_wait_ms:g} is not below "
            f"server.request_timeout_ms = {server.request_timeout_ms}; "
            "a held batch would miss every deadline"
        )
    if runtime.tensorrt and runtime.device == "cpu":
        yield "runtime.tensorrt = true needs a GPU, and runtime.device = cpu; change one of them"
    threads = [1 if n == "auto" else n for n in (runtime.instances, runtime.intra_op_threads)]
    if threads[0] * threads[1] > cores * MAX_PER_CORE:
        yield (
            f"runtime.instances = {runtime.instances} times "
            f"runtime.intra_op_threads = {runtime.intra_op_threads} is more than {MAX_PER_CORE} "
            f'for each of the {cores} cores; lower one, or leave both at "auto"'
        )
