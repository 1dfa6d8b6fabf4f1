"""Which store the settings mean. Each is imported where it is used: most services need one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from inferctl.deferral import JobsSettings
from inferctl.errors import StartError
from inferctl.jobs.store import Store


def open_store(settings: JobsSettings) -> Store:
    """Raises StoreUnavailable; StartError where `check_installed` does."""
    if settings.backend == "celery":
        check_installed()
        from inferctl.jobs.redis.opening import open_redis  # noqa: PLC0415

        return open_redis(settings)
    from inferctl.jobs.sqlite.store import SqliteStore  # noqa: PLC0415

    return SqliteStore(Path(settings.path), settings)


def check_installed() -> None:
    """Whether there is what jobs on many machines need. It is not imported: workers are forks.

    Raises StartError."""
    missing = [name for name in ("celery", "redis") if importlib.util.find_spec(name) is None]
    if missing:
        raise StartError(
            f'jobs.backend = "celery" needs {" and ".join(missing)}',
            hint="install with pip install 'inferctl[jobs]'",
        )
