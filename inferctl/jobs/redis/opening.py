"""Opens the store in Redis. Nothing is asked yet: it need not be there."""

from __future__ import annotations

from functools import partial

from inferctl.deferral import JobsSettings
from inferctl.jobs.celery.carrier import CeleryCarrier
from inferctl.jobs.owners import is_gone, this_process
from inferctl.jobs.redis.connection import Connection
from inferctl.jobs.redis.store import RedisStore


def open_redis(settings: JobsSettings) -> RedisStore:
    """This process' store. Raises StartError where jobs.redis_url is no address."""
    url = settings.redis_url
    return RedisStore(
        Connection(url), settings, CeleryCarrier(url), partial(is_gone, here=this_process())
    )
