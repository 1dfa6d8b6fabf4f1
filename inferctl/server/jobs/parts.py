"""What the routes need of a worker's jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from inferctl.deferral import JobsSettings
from inferctl.server.jobs.desk import Desk


class JobsParts(NamedTuple):
    """The store's desk, and `wake`, which says that a job came: somebody should look at once."""

    desk: Desk
    settings: JobsSettings
    wake: Callable[[], None]
