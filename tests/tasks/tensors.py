"""Two models of task tensor, and how a test sends them something."""

from __future__ import annotations

import json

from inferctl.settings import LimitsSettings
from inferctl.tasks.base import Prepared, Task

from .tinybundles import numbers, task_of, tensor

MAX_ROWS = 3
LIMITS = LimitsSettings(max_rows=MAX_ROWS)
ROW = [1, -2.5, 0, 4e3]
ONE = task_of(numbers(), limits=LIMITS)
# The names are as graphs have them: not every one would do as a field of a class.
TWO = task_of(
    numbers(
        inputs=(tensor("model/grid.1", "uint8", 2, 2), tensor("copy", "int64")),
        outputs=(tensor("sum", "float16"), tensor("_grid", "int32", 2, 2)),
    ),
    limits=LIMITS,
)
GRID = [[1, 2], [3, 255]]


def prepared(task: Task, inputs: object) -> Prepared:
    return task.preprocess(task.read_json(json.dumps({"inputs": inputs}).encode()))
