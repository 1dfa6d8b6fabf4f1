"""The answer to many items in one request, as a schema."""

from __future__ import annotations

from pydantic import BaseModel, Field, create_model

from inferctl.server.problem import Problem
from inferctl.tasks.base import Task


def items_answer(task: Task) -> type[BaseModel]:
    """`items`: an answer of the task or a problem for each, and what they share."""
    described = Field(description="in the order of the request; a problem has a status")
    return create_model(
        f"{task.schema_name}ItemsAnswer",
        items=(list[task.answer | Problem], described),  # type: ignore[name-defined] # as above
        latency_ms=(float, Field(ge=0, description="from the request's headers to its answer")),
        model=(str, ...),
        version=(int, ...),
    )
