"""One version of a model as clients know it, which is the same in every worker."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from inferctl.arena.spec import ModelSpec, ServedVersions
from inferctl.bundles.manifest import TOKENIZER_FILE, Manifest, Tensor
from inferctl.bundles.repository import check_file
from inferctl.server.items import items_answer
from inferctl.settings import LimitsSettings
from inferctl.tasks.base import JSON, Task
from inferctl.tasks.registry import task_for


class ModelDescription(BaseModel):
    """`GET /models/{name}`; `default` is whether /predict leads to it.

    `versions` are all that are served, and `version_labels` further names of them.
    """

    name: str
    version: int
    versions: tuple[int, ...]
    version_labels: dict[str, int]
    task: str
    default: bool
    labels: tuple[str, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    precision: str
    limits: LimitsSettings
    content_types: tuple[str, ...]
    example: dict[str, Any]


def _what_tasks_know(manifest: Manifest) -> tuple[object, ...]:
    """The parts of a manifest that its task is made of."""
    return (
        manifest.name, manifest.task, manifest.inputs, manifest.outputs, manifest.labels,
        manifest.image, manifest.text, manifest.files.get(TOKENIZER_FILE),
    )  # fmt: skip


class Offer:
    """A model's task with the files that it needs, and what is said of it."""

    def __init__(self, spec: ModelSpec, others: Iterable[Offer] = ()) -> None:
        """Load what the task needs, unless one of the others has it. Raises BundleError.

        New weights are the usual difference of two versions, and a task knows nothing of them.
        """
        self.place = spec.place
        self.name = spec.name
        self.manifest = spec.manifest
        self.settings = spec.settings
        self.warnings = spec.warnings
        alike = next((other for other in others if other.has_task_of(spec)), None)
        self.task: Task = (
            alike.task if alike else task_for(Path(spec.bundle), spec.manifest, spec.settings)
        )
        # Of one item, and of many.
        self.requests = (self.task.request, self.task.items_request)
        self.answers: tuple[type[BaseModel], type[BaseModel]] = (
            alike.answers if alike else (self.task.answer, items_answer(self.task))
        )

    def has_task_of(self, spec: ModelSpec) -> bool:
        """Whether the task of another version would be the same."""
        return (
            _what_tasks_know(self.manifest) == _what_tasks_know(spec.manifest)
            and self.settings == spec.settings
        )

    def describe(self, versions: ServedVersions, *, default: bool) -> ModelDescription:
        """What /models says of it; `versions` are those of its model."""
        manifest = self.manifest
        return ModelDescription(
            name=manifest.name,
            version=manifest.version,
            versions=tuple(sorted(versions.places)),
            version_labels=versions.labels,
            task=manifest.task,
            default=default,
            labels=manifest.labels,
            inputs=manifest.inputs,
            outputs=manifest.outputs,
            precision=manifest.precision,
            limits=self.settings.limits,
            content_types=(JSON, *self.task.media_types),
            example=self.task.example(),
        )


def make_offer(spec: ModelSpec, others: Iterable[Offer]) -> Offer:
    """The offer of a version whose files are what was exported. Raises BundleError or OSError."""
    if spec.manifest.text:
        check_file(Path(spec.bundle), spec.manifest, TOKENIZER_FILE)
    return Offer(spec, others)
