"""Loads a torch.export program, whose graph is drawn again with what belongs around it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from inferctl.bundles.manifest import ImageInput, Task
from inferctl.errors import CheckpointError, InferctlError
from inferctl.export.archive import damaged, read_records, written
from inferctl.export.foreign import FOREIGN_ERRORS
from inferctl.export.plain import plain_records
from inferctl.export.quiet import quiet

_AXES = {
    "image-detection": (("batch",),),
    "image-classification": (("batch",),),
    "text-classification": (("batch", "tokens"), ("batch", "tokens")),
}


class Program(nn.Module):
    """The tensors of a program's inputs, `names`, in the layout that it was exported with."""

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.module = module
        self.names = names

    def forward(self, *inputs: Tensor) -> object:
        """Run; where a reshape was a view of contiguous memory, it is a view for ever."""
        return self.module(*(tensor.contiguous() for tensor in inputs))


def load_program(path: Path, task: Task, image: ImageInput | None) -> nn.Module:
    """Load a program as a module on the CPU that takes what `task` feeds its models.

    Raises UntrustedCheckpoint when loading would run code, CheckpointError when it is damaged,
    takes other inputs or other pictures than `image`, or was exported with a batch of one size.
    """
    records = plain_records(read_records(path), where=str(path))
    try:
        with quiet():
            program = torch.export.load(written(records))
            _check_inputs(program, _axes(program, task), image, path)
            # Its guards are not wanted: the graph is compared at several sizes instead.
            module = program.module(check_guards=False)
    except InferctlError:
        raise
    except FOREIGN_ERRORS as error:
        raise damaged(path, error) from None
    module.validate_inputs = False  # type: ignore[assignment]  # torch types it as a submodule
    # These only refuse to be called, and a module inside another one gets called.
    del module.train, module.eval
    return Program(module, _names(program))


def _axes(program: torch.export.ExportedProgram, task: Task) -> tuple[tuple[str, ...], ...]:
    """The free axes of each input; a text's may have segments, which are fed as zeros."""
    axes = _AXES[task]
    segments = task == "text-classification" and "token_type_ids" in _names(program)
    return (*axes, axes[0]) if segments else axes


def _names(program: torch.export.ExportedProgram) -> tuple[str, ...]:
    return tuple(str(name) for name in program.graph_signature.user_inputs)


def _check_inputs(
    program: torch.export.ExportedProgram,
    axes: tuple[tuple[str, ...], ...],
    image: ImageInput | None,
    path: Path,
) -> None:
    names = _names(program)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    inputs = [node for node in nodes if node.name in names]
    if len(inputs) != len(axes) or len(names) != len(axes):
        raise CheckpointError(
            f"the program takes {len(names)} inputs, its task feeds {len(axes)}",
            where=str(path),
            hint="check --task",
        )
    for node, free in zip(inputs, axes, strict=True):
        for axis, name in enumerate(free):
            _check_axis(node, axis, name, axes=free, path=path)
    if image is not None:
        _check_size(inputs[0], image, path)


def _check_size(node: torch.fx.Node, image: ImageInput, path: Path) -> None:
    """Sizes that were fixed are in the program as numbers: it may run at another, and be wrong."""
    exported = list(node.meta["val"].shape[1:])
    given = [3, image.height, image.width]
    fits = len(exported) == 3 and all(
        not isinstance(size, int) or size == wanted
        for size, wanted in zip(exported, given, strict=True)
    )
    if not fits:
        raise CheckpointError(
            f"the program was exported for inputs of {exported}, --image-size makes them {given}",
            where=str(path),
            hint="pass the size it was exported with",
        )


def _check_axis(
    node: torch.fx.Node, axis: int, name: str, *, axes: tuple[str, ...], path: Path
) -> None:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.ndim <= axis:
        raise CheckpointError(
            f"its input {node.name!r} has no axis of {name}", where=str(path), hint="check --task"
        )
    if isinstance(value.shape[axis], int):
        dims = ", ".join(f'{n}: Dim("{a}")' for n, a in enumerate(axes))
        raise CheckpointError(
            f"the program was exported for a {name} of {value.shape[axis]} and takes no other",
            where=str(path),
            hint=f'export it again with dynamic_shapes={{"{node.name}": {{{dims}}}}}, '
            "Dim being torch.export.Dim",
        )
