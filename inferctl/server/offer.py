"""One model as clients know it, which is the same in every worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from inferctl.arena.spec import ModelSpec
from inferctl.bundles.manifest import Tensor
from inferctl.server.items import items_answer
from inferctl.settings import LimitsSettings
from inferctl.tasks.base import JSON
from inferctl.tasks.registry import task_for


class ModelDescription(BaseModel):
    """`GET /models/{name}`; `default` is whether /predict leads to it."""

    name: str
    version: int
    task: str
    default: bool
    labels: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    precision: str
    limits: LimitsSettings
    content_types: tuple[str, ...]
    example: dict[str, Any]


class Offer:
    """A model's task with the files that it needs, and what is said of it."""

    def __init__(self, spec: ModelSpec) -> None:
        """Load what the task needs. Raises BundleError."""
        self.name = spec.name
        self.manifest = spec.manifest
        self.settings = spec.settings
        self.task = task_for(Path(spec.bundle), spec.manifest, spec.settings)
        # Of one item, and of many.
        self.requests = (self.task.request, self.task.items_request)
        self.answers = (self.task.answer, items_answer(self.task))

    def describe(self) -> ModelDescription:
        """What /models says of it."""
        manifest = self.manifest
        return ModelDescription(
            name=manifest.name,
            version=manifest.version,
            task=manifest.task,
            default=self.settings.default,
            labels=manifest.labels,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            precision=manifest.precision,
            limits=self.settings.limits,
            content_types=(JSON, *self.task.media_types),
            example=self.task.example(),
        )
