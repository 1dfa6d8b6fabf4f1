"""What Ultralytics' exports say of themselves in metadata_props, which are strings alone.

Values are Python literals, and are read as literals: nothing in them is ever evaluated.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass

from inferctl.bundles.manifest import Task
from inferctl.errors import CheckpointError
from inferctl.export.foreign import clean
from inferctl.export.metadata import MANIFEST_KEY

_TASKS: dict[str, Task] = {"detect": "image-detection", "classify": "image-classification"}
_MAX_LITERAL_CHARS = 1_000_000
_MAX_LABEL_CHARS = 200
_MAX_SIDE = 16_384
_NOTED = ("description", "author", "version", "license")


@dataclass(frozen=True, slots=True)
class Stated:
    """What an exporter wrote down; empty or None where it said nothing.

    `ultralytics`: it is one of theirs, and pictures are prepared as they do it. `end_to_end`: the
    graph chooses its detections itself.
    """

    ultralytics: bool = False
    task: Task | None = None
    labels: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    end_to_end: bool = False
    notes: tuple[str, ...] = ()


def read_metadata(metadata: Mapping[str, str], where: str) -> Stated:
    """Read what is known of `names`, `task`, `imgsz`, `channels`, `end2end` and `args`.

    Raises CheckpointError for values that are not of their kind, and tasks that are not served.
    """
    # Our own graphs have names and a task too, and take and give what no exporter's do.
    if MANIFEST_KEY in metadata:
        return Stated()
    if "names" not in metadata or not {"stride", "task"} & set(metadata):
        return Stated()
    args = _literal(metadata, "args", where)
    channels = _literal(metadata, "channels", where)
    if channels not in (None, 3):
        raise CheckpointError(
            clean(f"it takes pictures of {channels} channels, and only RGB is served"), where=where
        )
    return Stated(
        ultralytics=True,
        task=_task(metadata, where),
        labels=_names(_literal(metadata, "names", where), where),
        image_size=_size(_literal(metadata, "imgsz", where), where),
        end_to_end=_literal(metadata, "end2end", where) is True
        or (isinstance(args, dict) and args.get("nms") is True),
        notes=_notes(metadata),
    )


def _literal(metadata: Mapping[str, str], key: str, where: str) -> object:
    """The literal under a key, None where there is none."""
    text = metadata.get(key)
    if text is None:
        return None
    problem = "is longer than a million characters"
    if len(text) <= _MAX_LITERAL_CHARS:
        problem = "is no Python literal"
        try:
            return ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass
    raise _odd(key, problem, where)


def _task(metadata: Mapping[str, str], where: str) -> Task | None:
    task = metadata.get("task")
    if task is not None and task not in _TASKS:
        raise CheckpointError(
            clean(f"its task is {task}, and of Ultralytics' only detect and classify are served"),
            where=where,
        )
    return _TASKS[task] if task else None


def _names(value: object, where: str) -> tuple[str, ...]:
    """Labels of `{0: 'person', …}`, or of a list."""
    named = dict(enumerate(value)) if isinstance(value, list | tuple) else value
    if not isinstance(named, dict) or set(named) != set(range(len(named))):
        raise _odd("names", "does not number its labels from 0", where)
    labels = tuple(named[number] for number in range(len(named)))
    if not all(isinstance(label, str) and 0 < len(label) <= _MAX_LABEL_CHARS for label in labels):
        raise _odd("names", "holds what is no label", where)
    return tuple(clean(label) for label in labels)


def _size(value: object, where: str) -> tuple[int, int] | None:
    """Height and width."""
    if value is None:
        return None
    sides = [value] * 2 if isinstance(value, int) else value
    if (
        not isinstance(sides, list | tuple)
        or len(sides) != 2
        or not all(type(side) is int and 1 <= side <= _MAX_SIDE for side in sides)
    ):
        raise _odd("imgsz", "is no size", where)
    return sides[0], sides[1]


def _notes(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Who made the model, and under which license: that goes with it into the report."""
    said = [f"{key} {clean(metadata[key])}" for key in _NOTED if metadata.get(key)]
    return (f"the file says: {'; '.join(said)}",) if said else ()


def _odd(key: str, problem: str, where: str) -> CheckpointError:
    return CheckpointError(
        f"{key!r} in its metadata {problem}", where=where, hint="export it with Ultralytics again"
    )
