"""One model as a worker sees it: its task, its slots, its gate and its counters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from inferctl.arena.ledger import Block
from inferctl.arena.slots import FreeSlots, ModelArena
from inferctl.arena.spec import ModelSpec
from inferctl.bundles.manifest import Tensor
from inferctl.errors import Overloaded
from inferctl.settings import LimitsSettings
from inferctl.tasks.base import JSON, Array, Prepared
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


class ServedModel:
    """`number` is the model's place in the service; the same in every process."""

    def __init__(
        self,
        number: int,
        spec: ModelSpec,
        arena: ModelArena,
        worker: int,
        block: Block,
    ) -> None:
        self.number = number
        self.manifest = manifest = spec.manifest
        self.settings = spec.settings
        self.arena = arena
        self._token_inputs = {t.name for t in manifest.inputs if "tokens" in t.shape}
        self.task = task_for(Path(spec.bundle), manifest, spec.settings)
        self.gate = asyncio.Semaphore(spec.settings.limits.max_concurrent)
        self._free = FreeSlots(arena.slots_of(worker))
        name = manifest.name
        self.latency_seconds = block.histogram("inference_latency_seconds", name)
        self.queue_seconds = block.histogram("inferctl_queue_seconds", name)
        self.decode_seconds = block.histogram("inferctl_decode_seconds", name)
        self._in_flight = block.cell("inferctl_in_flight", name)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.manifest.name

    def admit(self) -> int:
        """A slot for a new row. Raises Overloaded when the worker's share of the queue is full."""
        slot = self._free.take()
        if slot is None:
            raise Overloaded(
                "the queue is full", hint="retry after the seconds in Retry-After", retry_after_s=1
            )
        self._in_flight.set(self._free.in_use)
        return slot

    def give_back(self, slot: int) -> None:
        """The row's answer was read, or it was never sent."""
        self._free.give_back(slot)
        self._in_flight.set(self._free.in_use)

    def write(self, slot: int, prepared: Prepared, deadline_s: float) -> None:
        """Put a row into its slot; `deadline_s` is on the monotonic clock."""
        arena = self.arena
        for name, tensor in prepared.tensors.items():
            column = arena.inputs[name]
            if name in self._token_inputs:  # the rest of a longer predecessor must go
                column[slot, : len(tensor)] = tensor
                column[slot, len(tensor) :] = self._padding(name)
            else:
                column[slot] = tensor
        arena.tokens[slot] = prepared.tokens
        arena.deadline_s[slot] = deadline_s
        arena.cancelled[slot] = 0

    def _padding(self, name: str) -> int:
        text = self.manifest.text
        return text.pad_id if text and name == "input_ids" else 0

    def outputs(self, slot: int) -> dict[str, Array]:
        """The row's outputs, without the rows axis; views that are valid until `give_back`."""
        return {name: column[slot] for name, column in self.arena.outputs.items()}

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
