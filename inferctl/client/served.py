"""What a server says of itself: its models and its state, as typed values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferctl.client.errors import foreign


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is served; `default` is whether it answers when none is named.

    `inputs` and `outputs` are tensors with name, dtype and shape; `example` is a small valid
    request, and `limits` is what requests are held to.
    """

    name: str
    version: int
    task: str
    default: bool
    labels: tuple[str, ...]
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    precision: str
    limits: Mapping[str, Any]
    content_types: tuple[str, ...]
    example: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """One model's state: `loading` or `ready`."""

    version: int
    task: str
    state: str
    device: str | None
    queue_rows: int


@dataclass(frozen=True, slots=True)
class Health:
    """The service's state: `ok`, `degraded`, `starting` or `draining`.

    `last_restart` has `role`, `reason`, `at` and `ago_s`. What an older server does not tell is
    empty or 0.
    """

    status: str
    model_loaded: bool
    models: Mapping[str, ModelHealth]
    device: Mapping[str, Any] | None
    uptime_s: float
    warnings: tuple[str, ...]
    engine: str = ""
    workers: int = 0
    queue_rows: int = 0
    last_restart: Mapping[str, Any] | None = None


def models_of(document: Any) -> list[Model]:
    """The models of `GET /models`. Raises UnexpectedAnswer."""
    try:
        return [_model(one) for one in document["models"]]
    except (KeyError, TypeError):
        raise foreign("/models") from None


def health_of(document: Any) -> Health:
    """The state of `GET /health`. Raises UnexpectedAnswer."""
    try:
        models = {name: _model_health(one) for name, one in document["models"].items()}
        return Health(
            document["status"],
            document["model_loaded"],
            models,
            document["device"],
            document["uptime_s"],
            tuple(document["warnings"]),
            document.get("engine", ""),
            document.get("workers", 0),
            document.get("queue_rows", 0),
            document.get("last_restart"),
        )
    except (KeyError, TypeError, AttributeError):
        raise foreign("/health") from None


def _model(one: Mapping[str, Any]) -> Model:
    return Model(
        one["name"],
        one["version"],
        one["task"],
        one["default"],
        tuple(one["labels"]),
        tuple(one["inputs"]),
        tuple(one["outputs"]),
        one["precision"],
        one["limits"],
        tuple(one["content_types"]),
        one["example"],
    )


def _model_health(one: Mapping[str, Any]) -> ModelHealth:
    return ModelHealth(
        one["version"],
        one["task"],
        one["state"],
        one["device"],
        one["queue_rows"],
    )
