"""Draws the ONNX graph of a loaded model, with free `rows` and `tokens` axes."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import torch
from onnxscript import opset20
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from inferctl.bundles.manifest import MAX_GRAPH_BYTES, Tensor
from inferctl.errors import CheckpointError, InferctlError, VerificationError
from inferctl.export.compare import Answers
from inferctl.export.drawn import Graph, check_axes, not_free
from inferctl.export.foreign import FOREIGN_ERRORS, first_line
from inferctl.export.loaded import LoadedModel
from inferctl.export.memory import release
from inferctl.export.metadata import write_metadata
from inferctl.export.onnxfile import read_graph, write_graph
from inferctl.export.quiet import quiet
from inferctl.export.samples import Feeds, example
from inferctl.export.wrap import OUTPUT_NAMES, run_example, wrap
from inferctl.heap import give_back

# The newest that torch's older exporter writes itself, without converting.
_TRACED_OPSET = 18
# How torch says that the model fixes an axis: the first two of an input may be free.
_FIXED = re.compile(r"a static shape of (?P<size>\d+) for dimension .*\.shape\[(?P<axis>[01])\]")
# Its type hints are for constants, not for what a graph is drawn with.
_OPERATORS: Any = opset20
_DTYPES = {torch.float32: "float32", torch.int64: "int64", torch.uint8: "uint8"}


@dataclass(frozen=True, slots=True)
class _Drawing:
    """What an exporter is given: a module, what it is fed, whose axes are free, and the file."""

    loaded: LoadedModel
    module: nn.Module
    tensors: tuple[torch.Tensor, ...]
    axes: dict[str, tuple[str, ...]]
    opset: int | None
    file: Path


def draw_graph(loaded: LoadedModel, folder: Path, opset: int | None = None) -> Graph:
    """Export the model with torch's exporter into the new `folder`.

    `opset` is torch's default where none is asked for. Raises CheckpointError when the model does
    not keep its task's contract, and VerificationError when it cannot be drawn, or only with an
    axis that is fixed.
    """
    module = wrap(loaded)
    feeds = example(loaded)
    tensors = tuple(torch.from_numpy(array) for array in feeds.values())
    outputs = run_example(module, tensors, loaded)
    axes = {name: _axes(array.ndim, name) for name, array in feeds.items()}
    inputs = tuple(
        _tensor(name, array.dtype.name, (*axes[name], *array.shape[len(axes[name]) :]))
        for name, array in feeds.items()
    )
    results = tuple(
        _tensor(name, _DTYPES[output.dtype], ("rows", *output.shape[1:]))
        for name, output in zip(OUTPUT_NAMES[loaded.task], outputs, strict=True)
    )
    with TemporaryDirectory(dir=folder.parent) as name:
        raw = Path(name) / "raw.onnx"
        proto, notes = _draw(_Drawing(loaded, module, tensors, axes, opset, raw))
        strip_origins(proto)
        write_metadata(proto, loaded, inputs, results)
        file = write_graph(proto, folder, weights_in=raw.parent)
    return Graph(
        file=file,
        inputs=inputs,
        outputs=results,
        opset=opset_of(proto),
        reference=partial(_reference, module, tuple(feeds), OUTPUT_NAMES[loaded.task]),
        release=partial(release, module),
        notes=notes,
    )


def opset_of(proto: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a graph is written in."""
    versions = {entry.domain: int(entry.version) for entry in proto.opset_import}
    return versions.get("", versions.get("ai.onnx", 0))


def _reference(
    module: nn.Module, inputs: Sequence[str], outputs: Sequence[str], feeds: Feeds
) -> Answers:
    """Run the PyTorch module on what the graph is fed; arrays by output name."""
    tensors = [torch.from_numpy(feeds[name]) for name in inputs]
    with torch.no_grad():
        answers = module(*tensors)
    return {name: answer.numpy() for name, answer in zip(outputs, answers, strict=True)}


def strip_origins(proto: onnx.ModelProto) -> None:
    """Remove what the exporter notes of the source: stack traces with this machine's paths."""
    graphs = [proto.graph]
    while graphs:
        graph = graphs.pop()
        _forget(graph, *graph.node, *graph.input, *graph.output, *graph.value_info)
        _forget(*graph.initializer)
        for node in graph.node:
            for attribute in node.attribute:
                attribute.ClearField("doc_string")
                graphs.extend(attribute.graphs)
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
    for function in proto.functions:
        _forget(function, *function.node, *function.value_info)
    _forget(proto)


def _forget(*messages: object) -> None:
    for message in messages:
        for field in ("metadata_props", "doc_string"):
            if field in message.DESCRIPTOR.fields_by_name:  # type: ignore[attr-defined]
                message.ClearField(field)  # type: ignore[attr-defined]


def _axes(ndim: int, name: str) -> tuple[str, ...]:
    """The free axes of an input, from the first on; texts are [rows, tokens]."""
    return ("rows",) if name == "image" else ("rows", "tokens")[:ndim]


def _tensor(name: str, dtype: str, shape: tuple[int | str, ...]) -> Tensor:
    return Tensor.model_validate({"name": name, "dtype": dtype, "shape": shape})


def _draw(drawing: _Drawing) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The graph with free axes, and a note on how it was drawn if that is out of the ordinary."""
    # torch.export cannot look into TorchScript; torch's older exporter is made for it.
    if isinstance(drawing.loaded.module, torch.jit.ScriptModule):
        return _drawn(_export_traced, drawing), ()
    try:
        return _drawn(_export_module, drawing), ()
    except VerificationError as error:
        note = f"drawn with attention in single steps, because in one step {error.what}"
    # What a fused attention returns lies in memory as its kernel left it, and torch takes that for
    # a promise which the steps that it is drawn as do not keep: so it is with Swin's.
    with sdpa_kernel(SDPBackend.MATH):
        return _drawn(_export_module, drawing), (note,)


def _drawn(export: Callable[[_Drawing], None], drawing: _Drawing) -> onnx.ModelProto:
    """What an exporter makes of the model, with its axes and its opset checked.

    Raises VerificationError.
    """
    try:
        with quiet():
            export(drawing)
    except (InferctlError, OSError):  # such as a full disk
        raise
    except FOREIGN_ERRORS as error:
        raise _undrawable(error, type(drawing.loaded.module).__name__) from None
    proto = read_graph(drawing.file)
    check_axes(proto, drawing.axes)
    if drawing.opset not in (None, opset_of(proto)):
        # torch converts, and where it cannot leaves the graph as it was and logs a line.
        raise VerificationError(
            f"the graph cannot be written in opset {drawing.opset}, only in {opset_of(proto)}",
            where="--opset",
            hint="leave it out",
        )
    return proto


def _undrawable(error: Exception, where: str) -> VerificationError:
    found = _FIXED.search(str(error))
    if found is not None:
        axis = ("rows", "tokens")[int(found["axis"])]
        return not_free(axis, f"fixed at {found['size']}", where=where)
    return VerificationError(
        f"the model cannot be drawn as a graph: {first_line(error)}",
        where=where,
        hint="keep Python branches on tensor values and operators unknown to ONNX out of it",
    )


def _export_module(drawing: _Drawing) -> None:
    # Names, and no `Dim`: of one that the model seems to fix, torch would draw a graph of two rows.
    # So it goes on to read the module's Python, which finds the rows of an RT-DETR free.
    program = torch.onnx.export(
        drawing.module,
        drawing.tensors,
        input_names=tuple(drawing.axes),
        output_names=OUTPUT_NAMES[drawing.loaded.task],
        opset_version=drawing.opset,
        dynamo=True,
        dynamic_shapes=tuple(dict(enumerate(axes)) for axes in drawing.axes.values()),
        custom_translation_table={torch.ops.aten._is_all_true.default: _is_all_true},
        verbose=False,
    )
    assert program is not None  # dynamo=True always returns one
    # Beside the graph, weights are written one by one and never all held twice.
    program.save(drawing.file, external_data=True)
    # torch holds on to the program; what was folded into new weights need not stay with it.
    for value in program.model.graph.initializers.values():
        value.const_value = None
    gc.collect()
    give_back()


def _is_all_true(values: Any) -> Any:
    """What a model's own checks of its tensors become, which torch has no ONNX form of."""
    numbers = _OPERATORS.Cast(values, to=onnx.TensorProto.INT32)
    least = _OPERATORS.ReduceMin(numbers, keepdims=0)
    return _OPERATORS.Cast(least, to=onnx.TensorProto.BOOL)


def _export_traced(drawing: _Drawing) -> None:
    """Draw TorchScript by watching one run: a branch on values stays the one that was taken."""
    loaded = drawing.loaded
    if loaded.weight_bytes > MAX_GRAPH_BYTES:
        raise CheckpointError(
            f"its weights take {loaded.weight_bytes / 1e9:.1f} GB, and torch's older exporter, "
            "which draws TorchScript, writes 2 GB at most",
            where=str(loaded.weights),
        )
    outputs = OUTPUT_NAMES[loaded.task]
    free = drawing.axes | dict.fromkeys(outputs, ("rows",))
    # The exporter's own tracing does not know script modules inside the one it is given.
    traced = torch.jit.trace(drawing.module, drawing.tensors, check_trace=False)  # type: ignore[no-untyped-call]
    torch.onnx.export(
        traced,
        drawing.tensors,
        drawing.file,
        input_names=tuple(drawing.axes),
        output_names=outputs,
        dynamo=False,
        dynamic_axes={name: dict(enumerate(axes)) for name, axes in free.items()},
        opset_version=drawing.opset or _TRACED_OPSET,
    )
