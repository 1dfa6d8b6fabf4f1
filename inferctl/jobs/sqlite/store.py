"""The store as others use it."""

from __future__ import annotations

from inferctl.jobs.sqlite.asking import Asking
from inferctl.jobs.sqlite.intake import Intake
from inferctl.jobs.sqlite.reporting import Reporting
from inferctl.jobs.sqlite.sweeping import Sweeping


class SqliteStore(Intake, Asking, Reporting, Sweeping):
    """A `Store` in a file of a folder that was prepared (`preparation.prepare_store`)."""
