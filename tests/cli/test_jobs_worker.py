"""`inferctl jobs worker`: what it is started with."""

from __future__ import annotations

import pytest

from inferctl.cli.jobs_worker import doing_jobs
from inferctl.deferral import JobsSettings
from inferctl.errors import SettingsError
from inferctl.settings import Settings


@pytest.mark.parametrize("backend", ["sqlite", "off"])
def test_jobs_of_one_machine_need_no_worker(backend: str) -> None:
    with pytest.raises(SettingsError, match=backend):
        doing_jobs(Settings(jobs=JobsSettings.model_validate({"backend": backend})))


def test_it_does_jobs_whatever_the_settings_that_it_shares_say() -> None:
    shared = Settings(jobs=JobsSettings(backend="celery", run=False, lease_s=7))
    assert doing_jobs(shared).jobs == JobsSettings(backend="celery", run=True, lease_s=7)
