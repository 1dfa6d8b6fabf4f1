"""Modules around the person's module that make its inputs and outputs those of the bundle.

The contract of the module that a factory returns, with `rows` free everywhere:

- Image tasks: `forward(x)`, float32 [rows, 3, H, W], RGB, already normalised by --mean and --std.
- Text: `forward(input_ids, attention_mask)`, both int64 [rows, tokens]; mask 1 is a real token.
  One that needs `token_type_ids` too, by that name, is fed zeros, as a text that stands alone is;
  then all three may come in any order.
- Classifiers return logits, float32 [rows, classes]; the softmax is added here.
- Detectors return `(boxes, scores, labels)`: boxes float32 [rows, k, 4] as x1, y1, x2, y2 in 0..1
  of the input, scores float32 [rows, k] descending, labels int64 [rows, k] from 0. `k` is fixed.

`run_example` checks types and shapes; `compare.check_answers` checks values.
"""

from __future__ import annotations

import inspect

import torch
from torch import Tensor, nn

from inferctl.errors import CheckpointError, InferctlError, UsageError
from inferctl.export.foreign import FOREIGN_ERRORS, first_line
from inferctl.export.loaded import LoadedModel
from inferctl.export.program import Program

Outputs = tuple[Tensor, ...]
OUTPUT_NAMES = {
    "image-detection": ("boxes", "scores", "labels"),
    "image-classification": ("scores",),
    "text-classification": ("scores",),
}
_TEXT_NAMES = ("input_ids", "attention_mask")
_SEGMENTS = "token_type_ids"
_DETECTION_DTYPES = (torch.float32, torch.float32, torch.int64)


class ImageGraph(nn.Module):
    """`image` uint8 [rows, H, W, 3] RGB in; a detector's three tensors or softmax scores out."""

    scale: Tensor
    shift: Tensor

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self.module = loaded.module
        self.classifies = loaded.task == "image-classification"
        mean, std = torch.tensor([loaded.mean, loaded.std], dtype=torch.float64)
        # (x / 255 - mean) / std as one multiplication and one addition per pixel.
        self.register_buffer("scale", (1 / (255 * std)).float().reshape(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).float().reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Outputs:
        """Normalise and run."""
        pixels = image.permute(0, 3, 1, 2).to(torch.float32)
        return _outputs(self.module(pixels * self.scale + self.shift), self.classifies)


class TextGraph(nn.Module):
    """`input_ids` and `attention_mask` int64 [rows, tokens] in, softmax scores out."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__()
        self.module = loaded.module
        self.names = text_inputs(loaded.module)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Outputs:
        """Run; what the module wants besides is zeros."""
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            _SEGMENTS: torch.zeros_like(input_ids),
        }
        return _outputs(self.module(*(given[name] for name in self.names)), True)


def text_inputs(module: nn.Module) -> tuple[str, ...]:
    """What a text module is fed, in its order: ids and mask, and `token_type_ids` if it needs them.

    Names count only where these three are all that it needs; others take ids and mask by place.
    """
    needed = _needed(module)
    return needed if sorted(needed) == sorted((*_TEXT_NAMES, _SEGMENTS)) else _TEXT_NAMES


def _needed(module: nn.Module) -> tuple[str, ...]:
    """The names of the inputs that the module cannot be called without."""
    if isinstance(module, Program):
        return module.names
    if isinstance(module, torch.jit.ScriptModule):
        arguments = module.forward.schema.arguments[1:]  # type: ignore[attr-defined]
        return tuple(argument.name for argument in arguments if not argument.has_default_value())
    parameters = inspect.signature(module.forward).parameters.values()
    return tuple(
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    )


def wrap(loaded: LoadedModel) -> nn.Module:
    """Return the module whose graph is the bundle's."""
    graph = TextGraph(loaded) if loaded.task == "text-classification" else ImageGraph(loaded)
    return graph.eval()


def run_example(graph: nn.Module, feeds: tuple[Tensor, ...], loaded: LoadedModel) -> Outputs:
    """Run the module once and check that it returns what its task promises.

    Raises CheckpointError naming the output that does not, UsageError when the labels do not match
    the number of classes.
    """
    where = type(loaded.module).__name__
    try:
        with torch.no_grad():
            outputs = graph(*feeds)
    except InferctlError:
        raise
    except FOREIGN_ERRORS as error:
        raise CheckpointError(
            f"the model does not run: {type(error).__name__}: {first_line(error)}",
            where=where,
            hint="check --image-size, --max-tokens and the tokenizer against its training",
        ) from None
    rows = len(feeds[0])
    if loaded.task == "image-detection":
        _check_detections(outputs, rows, where)
    else:
        _check_scores(outputs, rows, loaded, where)
    result: Outputs = outputs
    return result


def _outputs(returned: object, classifies: bool) -> Outputs:
    if classifies and isinstance(returned, Tensor):
        return (torch.softmax(returned, dim=-1),)
    # Anything else goes through as it is: `run_example` says what is wrong with it.
    return tuple(returned) if isinstance(returned, tuple | list) else (returned,)  # type: ignore[return-value]


def _check_scores(outputs: Outputs, rows: int, loaded: LoadedModel, where: str) -> None:
    message = (
        "a classifier returns one float32 tensor of logits [rows, labels], "
        f"this one {_describe(outputs)}"
    )
    if len(outputs) != 1 or not isinstance(outputs[0], Tensor):
        raise CheckpointError(message, where=where)
    scores = outputs[0]
    if scores.dtype != torch.float32 or scores.ndim != 2 or len(scores) != rows:
        raise CheckpointError(message, where=where)
    if scores.shape[1] != len(loaded.labels):
        raise UsageError(
            f"the model tells {scores.shape[1]} classes apart, {len(loaded.labels)} are named",
            where="--labels",
            hint=f"pass {scores.shape[1]} names, in the order of the model's outputs",
        )


def _check_detections(outputs: Outputs, rows: int, where: str) -> None:
    message = (
        "a detector returns boxes float32 [rows, k, 4], scores float32 [rows, k] and labels int64 "
        f"[rows, k], this one {_describe(outputs)}"
    )
    if len(outputs) != 3 or not all(isinstance(output, Tensor) for output in outputs):
        raise CheckpointError(message, where=where)
    boxes, scores, labels = outputs
    shapes_fit = (
        boxes.ndim == 3
        and boxes.shape[2] == 4
        and tuple(boxes.shape[:2]) == tuple(scores.shape) == tuple(labels.shape)
        and len(boxes) == rows
    )
    if not shapes_fit or tuple(output.dtype for output in outputs) != _DETECTION_DTYPES:
        raise CheckpointError(message, where=where)


def _describe(outputs: Outputs) -> str:
    parts = [
        f"{str(output.dtype).removeprefix('torch.')} {list(output.shape)}"
        if isinstance(output, Tensor)
        else type(output).__name__
        for output in outputs
    ]
    return "returns " + (", ".join(parts) or "nothing")
