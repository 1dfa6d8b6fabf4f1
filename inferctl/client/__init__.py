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
    DeadlineExceeded,
    InvalidInput,
    NotAllowed,
    NotFound,
    Overloaded,
    PredictionFailed,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
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
    "BadRequest",
    "Classification",
    "Client",
    "ClientError",
    "DeadlineExceeded",
    "Detection",
    "Detections",
    "Health",
    "InvalidInput",
    "Model",
    "ModelHealth",
    "NotAllowed",
    "NotFound",
    "Options",
    "Outcome",
    "Overloaded",
    "Prediction",
    "PredictionFailed",
    "Score",
    "Tensors",
    "TextLabel",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
]
