"""Options that `predict` and `jobs` share: what is asked of which model, and where answers go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Inputs: TypeAlias = Annotated[
    list[str],
    typer.Argument(
        help="Images and folders of them; files with a text on each line; or -, to read texts, "
        "or names of images, from standard input."
    ),
]
Output: TypeAlias = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File for the results. [standard output]"),
]
Model: TypeAlias = Annotated[
    str | None, typer.Option(help="Name of the model. [the default or only one]")
]
TopK: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Labels of an image classifier's answer. [5]")
]
Threshold: TypeAlias = Annotated[
    float | None, typer.Option(min=0, max=1, help="Least confidence of a box. [0.5]")
]
