"""Sends ids to those who do jobs."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from inferctl.jobs.celery.app import TASK, App

log = structlog.get_logger()


class CeleryCarrier:
    """Used by the store's thread. The app is made at the first id, so after the fork."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._app: App | None = None

    def send(self, ids: Sequence[str]) -> None:
        """Send each once; of what cannot be sent the sweeper finds that nobody began it."""
        if self._app is None:
            self._app = App(self._url)
        for sent, one in enumerate(ids):
            try:
                self._app.send_task(TASK, (one,), retry=False, ignore_result=True)
            except (KombuError, RedisError, OSError) as error:
                log.warning(
                    "ids of jobs were not sent, and will be later",
                    jobs=len(ids) - sent,
                    reason=type(error).__name__,
                )
                return

    def close(self) -> None:
        """Close its connections."""
        if self._app is not None:
            self._app.close()
