"""The Celery app: one task, JSON alone, no results, and no attempt that takes longer than 1 s."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery

from inferctl.jobs.redis.connection import IDLE_S, TIMEOUT_S
from inferctl.jobs.redis.names import CARRIER_PREFIX, QUEUE

TASK = "inferctl.job"
# After which Celery itself gives a message to another worker, whose claim is refused while the job
# is being done. The sweeper is quicker where one died.
VISIBILITY_S = 3600


class App(Celery):  # type: ignore[misc]  # Celery ships no types
    """Celery, at our address: its own environment variables would win over the settings."""

    def __init__(self, url: str) -> None:
        super().__init__("inferctl", loader="app", set_as_current=False)
        self._url = url
        # It logs what is in messages, and that Redis is gone each time it looks; we say it once.
        for name in ("celery", "kombu"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.conf.update(
            task_serializer="json",
            accept_content=["json"],
            result_accept_content=["json"],
            result_backend=None,
            task_ignore_result=True,
            task_acks_late=True,
            task_default_queue=QUEUE,
            task_create_missing_queues=False,
            task_queues={QUEUE: {"exchange": QUEUE, "routing_key": QUEUE}},
            worker_prefetch_multiplier=1,
            worker_enable_remote_control=False,
            worker_enable_prefetch_count_reduction=False,
            broker_connection_timeout=TIMEOUT_S,
            broker_connection_retry_on_startup=True,
            broker_transport_options={
                "global_keyprefix": CARRIER_PREFIX,
                "visibility_timeout": VISIBILITY_S,
                "socket_timeout": TIMEOUT_S,
                "socket_connect_timeout": TIMEOUT_S,
                "socket_keepalive": True,
                "health_check_interval": IDLE_S,
                "max_retries": 0,
            },
        )

    def connection_for_read(self, url: str | None = None, **options: Any) -> Any:
        """See Celery."""
        return super().connection_for_read(self._url, **options)

    def connection_for_write(self, url: str | None = None, **options: Any) -> Any:
        """See Celery."""
        return super().connection_for_write(self._url, **options)
