"""The typed client of a server: `Client` blocks, `AsyncClient` is awaited; both say the same.

Importing it is light: it needs neither numpy nor anything that serves.
"""

from __future__ import annotations

from inferctl.client.awaiting import AsyncClient
from inferctl.client.blocking import Client
from inferctl.client.dialogue import Options, Outcome
from inferctl.client.errors import (
    BadRequest,
    ClientError,
    Conflict,
    DeadlineExceeded,
    Gone,
    InvalidInput,
    NotAllowed,
    NotFound,
    Overloaded,
    PredictionFailed,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from inferctl.client.jobs.awaiting import AsyncPendingJob, AsyncPendingJobs
from inferctl.client.jobs.blocking import PendingJob, PendingJobs
from inferctl.client.jobs.dialogue import JobOptions
from inferctl.client.jobs.status import JobStatus
from inferctl.client.results import (
    Classification,
    Detection,
    Detections,
    Prediction,
    Score,
    Tensors,
    TextLabel,
)
from inferctl.client.served import Health, Model, ModelHealth

__all__ = [
    "AsyncClient",
    "AsyncPendingJob",
    "AsyncPendingJobs",
    "BadRequest",
    "Classification",
    "Client",
    "ClientError",
    "Conflict",
    "DeadlineExceeded",
    "Detection",
    "Detections",
    "Gone",
    "Health",
    "InvalidInput",
    "JobOptions",
    "JobStatus",
    "Model",
    "ModelHealth",
    "NotAllowed",
    "NotFound",
    "Options",
    "Outcome",
    "Overloaded",
    "PendingJob",
    "PendingJobs",
    "Prediction",
    "PredictionFailed",
    "Score",
    "Tensors",
    "TextLabel",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
]
