"""Which store the settings mean, and what it needs."""

from __future__ import annotations

import importlib.util

import pytest

from inferctl.deferral import JobsSettings
from inferctl.errors import StartError
from inferctl.jobs.redis.store import RedisStore
from inferctl.jobs.stores import open_store


def test_jobs_of_many_machines_are_in_redis_which_need_not_be_there_yet() -> None:
    store = open_store(JobsSettings(backend="celery", redis_url="redis://127.0.0.1:1/0"))
    assert isinstance(store, RedisStore)
    store.close()


def test_what_is_not_installed_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "celery" else 1)
    with pytest.raises(StartError) as heard:
        open_store(JobsSettings(backend="celery"))
    assert str(heard.value) == (
        "jobs.backend = \"celery\" needs celery; install with pip install 'inferctl[jobs]'"
    )
