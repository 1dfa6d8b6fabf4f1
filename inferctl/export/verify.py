"""Runs the graph in ONNX Runtime against PyTorch, and each row alone against its batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from inferctl.errors import InferctlError, VerificationError
from inferctl.export.compare import Answers, Difference, Tolerance, check_answers, compare
from inferctl.export.foreign import FOREIGN_ERRORS, first_line
from inferctl.export.graph import Graph
from inferctl.export.loaded import LoadedModel
from inferctl.export.samples import Feeds, Sample, samples

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
_REFUSALS: tuple[type[Exception], ...] = (*RUNTIME_ERRORS, onnx.checker.ValidationError)
_LOG_FATAL = 4

Against = Literal["pytorch", "each row alone", "each row unpadded"]
_HINTS: dict[Against, str] = {
    "each row alone": "the model mixes the rows of a batch; "
    "BatchNorm in training mode or a mean over the batch does that",
    "each row unpadded": "the model does not leave out the tokens whose attention_mask is 0",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison that held."""

    sample: str
    against: Against
    rows: int
    tokens: int | None
    difference: Difference


def verify_graph(graph: Graph, loaded: LoadedModel, tolerance: Tolerance) -> tuple[Check, ...]:
    """Compare the graph with PyTorch on batches of 1, 2 and 5 rows (texts: several lengths).

    Each row must also give the same answer alone and, for texts, without its padding. Raises
    VerificationError naming the sample, the output and the difference.
    """
    session = open_session(graph.model)
    checks = [
        check
        for sample in samples(loaded)
        for check in _check_sample(session, graph, sample, len(loaded.labels), tolerance)
    ]
    if not any(check.difference.compared for check in checks):
        raise VerificationError(
            "the model detects nothing that could be compared: all its scores are equal",
            where=loaded.name,
            hint="is the checkpoint trained?",
        )
    return tuple(checks)


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Check the graph and load it on the CPU; raises VerificationError when it is refused."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _LOG_FATAL
    try:
        onnx.checker.check_model(model)
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except _REFUSALS as error:
        raise VerificationError(f"the graph is not valid: {first_line(error)}") from None


def _check_sample(
    session: onnxruntime.InferenceSession,
    graph: Graph,
    sample: Sample,
    labels: int,
    tolerance: Tolerance,
) -> Iterator[Check]:
    where = f"sample {sample.name}"
    expected = _reference(graph, sample, where)
    check_answers(expected, sample.rows, labels, where=f"{where}, PyTorch")
    actual = _run(session, graph, sample.feeds, where)
    check_answers(actual, sample.rows, labels, where=f"{where}, ONNX")
    against: list[tuple[Against, Answers]] = [("pytorch", expected)]
    if sample.rows > 1:
        against.append(("each row alone", _rows_alone(session, graph, sample, where)))
    if sample.tokens is not None:
        against.append(("each row unpadded", _rows_alone(session, graph, sample, where, cut=True)))
    for other, answers in against:
        place = f"{where}, against {other}"
        try:
            difference = compare(answers, actual, tolerance, where=place)
        except VerificationError as error:
            hint = _HINTS.get(other, error.hint)
            raise VerificationError(error.what, where=place, hint=hint) from None
        yield Check(sample.name, other, sample.rows, sample.tokens, difference)


def _reference(graph: Graph, sample: Sample, where: str) -> Answers:
    try:
        return graph.reference(sample.feeds)
    except InferctlError:
        raise
    except FOREIGN_ERRORS as error:
        raise VerificationError(
            f"the PyTorch model fails: {type(error).__name__}: {first_line(error)}",
            where=where,
            hint="it must take any number of rows, and texts of up to --max-tokens",
        ) from None


def _run(session: onnxruntime.InferenceSession, graph: Graph, feeds: Feeds, where: str) -> Answers:
    names = [tensor.name for tensor in graph.outputs]
    try:
        return dict(zip(names, session.run(names, feeds), strict=True))
    except RUNTIME_ERRORS as error:
        raise VerificationError(
            f"the graph fails in ONNX Runtime: {first_line(error)}", where=where
        ) from None


def _rows_alone(
    session: onnxruntime.InferenceSession,
    graph: Graph,
    sample: Sample,
    where: str,
    *,
    cut: bool = False,
) -> Answers:
    """Run row by row, `cut` to the row's own tokens, and stack the answers."""
    rows = []
    for row in range(sample.rows):
        length = int(sample.feeds["attention_mask"][row].sum()) if cut else None
        feeds = {
            name: np.ascontiguousarray(array[row : row + 1, :length])
            for name, array in sample.feeds.items()
        }
        rows.append(_run(session, graph, feeds, f"{where}, row {row} alone"))
    return {name: np.concatenate([answers[name] for answers in rows]) for name in rows[0]}
