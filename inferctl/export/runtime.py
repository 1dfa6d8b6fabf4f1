"""Opens graphs in ONNX Runtime and runs them; needs neither torch nor onnx."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from inferctl.bundles.manifest import Tensor
from inferctl.errors import VerificationError
from inferctl.export.compare import Answers
from inferctl.export.foreign import first_line
from inferctl.export.samples import Feeds, Sample

RUNTIME_VERSION: str = onnxruntime.__version__
RUNTIME_ERRORS: tuple[type[Exception], ...] = (
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
    RuntimeError,
    ValueError,
)
ON_CPU = ("CPUExecutionProvider",)
_LOG_FATAL = 4
_SEGMENTS = "token_type_ids"
_TYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
}


class Model:
    """A loaded graph, by default on the CPU; `threads` is how many a run may use there, by default
    every core. `session` is onnxruntime's own, to be asked where it is."""

    def __init__(
        self, graph: Path | bytes, threads: int = 0, providers: Sequence[Any] = ON_CPU
    ) -> None:
        """Load a graph from its file; from memory one that no file holds.

        Raises VerificationError when ONNX Runtime refuses it.
        """
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _LOG_FATAL
        options.intra_op_num_threads = threads
        if providers != ON_CPU:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        try:
            self.session = onnxruntime.InferenceSession(
                graph, options, providers=[*providers], enable_fallback=False
            )
        except RUNTIME_ERRORS as error:
            raise VerificationError(f"the graph is not valid: {first_line(error)}") from None
        self._has_segments = _SEGMENTS in {node.name for node in self.session.get_inputs()}

    def run(self, outputs: Sequence[str], feeds: Feeds, where: str) -> Answers:
        """Arrays by output name; raises VerificationError when the run fails.

        A graph that takes `token_type_ids` gets zeros, as from a server.
        """
        if self._has_segments and "input_ids" in feeds:
            feeds = {_SEGMENTS: np.zeros_like(feeds["input_ids"]), **feeds}
        try:
            arrays = self.session.run(list(outputs), feeds)
        except RUNTIME_ERRORS as error:
            raise VerificationError(
                f"the graph fails in ONNX Runtime: {first_line(error)}", where=where
            ) from None
        return dict(zip(outputs, arrays, strict=True))

    def rows_alone(
        self, outputs: Sequence[str], sample: Sample, where: str, *, cut: bool = False
    ) -> Answers:
        """Run row by row, `cut` to the row's own tokens, and stack the answers.

        Rows that are nothing but padding are left out.
        """
        rows = []
        for row in range(sample.defined_rows):
            length = int(sample.feeds["attention_mask"][row].sum()) if cut else None
            feeds = {
                name: np.ascontiguousarray(
                    array[row : row + 1] if length is None else array[row : row + 1, :length]
                )
                for name, array in sample.feeds.items()
            }
            rows.append(self.run(outputs, feeds, f"{where}, row {row} alone"))
        return {name: np.concatenate([answers[name] for answers in rows]) for name in rows[0]}

    def faults(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Iterator[str]:
        """What of the graph's inputs and outputs is not as promised, a sentence for each."""
        yield from _faults("input", inputs, self.session.get_inputs())
        yield from _faults("output", outputs, self.session.get_outputs())


def _faults(kind: str, promised: Sequence[Tensor], found: Sequence[Any]) -> Iterator[str]:
    known = {node.name: node for node in found}
    if kind == "input" and (others := sorted(set(known) - {tensor.name for tensor in promised})):
        yield f"the graph has an input {others[0]!r} that the manifest does not name"
    for tensor in promised:
        node = known.get(tensor.name)
        if node is None:
            yield f"the graph has no {kind} {tensor.name!r}"
            continue
        if _TYPES.get(node.type) != tensor.dtype:
            yield f"{kind} {tensor.name} is {node.type}, not {tensor.dtype}"
        # An output's inner axes are often unknown to the graph; its rows must be free for sure.
        if kind == "input" and len(node.shape) != len(tensor.shape):
            yield f"{kind} {tensor.name} has {len(node.shape)} axes, not {len(tensor.shape)}"
            continue
        for axis, (dim, size) in enumerate(zip(tensor.shape, node.shape, strict=False)):
            if isinstance(dim, str) and isinstance(size, int):
                yield f"the {dim} axis of {kind} {tensor.name} is fixed at {size}"
            elif isinstance(dim, int) and isinstance(size, int) and dim != size:
                yield f"axis {axis} of {kind} {tensor.name} is {size}, not {dim}"
