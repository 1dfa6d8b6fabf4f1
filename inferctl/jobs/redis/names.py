"""Where things are in Redis. All of ours begins alike, so that others may use it too."""

from __future__ import annotations

# The store's keys.
PREFIX = "inferctl:jobs:"
# The carrier's: Celery's own, and the list of ids that is its queue.
CARRIER_PREFIX = "inferctl:celery:"
QUEUE = "jobs"
CARRIED = CARRIER_PREFIX + QUEUE

# What a job's hash and its items look like. Who knows less of it leaves a job to those who do.
PAYLOAD_VERSION = 1
