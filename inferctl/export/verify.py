"""Runs the graph in ONNX Runtime against what it was made of, and each row alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from inferctl.errors import InferctlError, VerificationError
from inferctl.export.compare import Answers, Difference, Tolerance, check_answers, compare
from inferctl.export.drawn import Graph, Origin
from inferctl.export.foreign import FOREIGN_ERRORS, first_line
from inferctl.export.loaded import ModelFacts
from inferctl.export.runtime import Model
from inferctl.export.samples import Sample, samples
from inferctl.export.tensors import tensor_samples

Against = Origin | Literal["each row alone", "each row unpadded"]
_ORIGINS: dict[Origin, str] = {
    "pytorch": "the PyTorch model",
    "the imported file": "the imported file",
}
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


@dataclass(frozen=True, slots=True)
class Reference:
    """What a graph's origin answers to a sample."""

    sample: Sample
    answers: Answers


def references(graph: Graph, loaded: ModelFacts) -> tuple[Reference, ...]:
    """Run what a graph was made of on batches of 1, 2 and 5 rows (texts: several lengths).

    Raises VerificationError when it fails, or answers what its task does not allow.
    """
    batches = tensor_samples(graph.inputs) if loaded.task == "tensor" else samples(loaded)
    return tuple(
        Reference(sample, _reference(graph, sample, len(loaded.labels))) for sample in batches
    )


def verify_graph(
    graph: Graph, loaded: ModelFacts, expected: Iterable[Reference], tolerance: Tolerance
) -> tuple[Check, ...]:
    """Compare the graph with what its origin answered.

    Each row must also give the same answer alone and, for texts, without its padding. Raises
    VerificationError naming the sample, the output and the difference.
    """
    model = Model(graph.file)
    checks = [
        check
        for reference in expected
        for check in _check_sample(model, graph, reference, len(loaded.labels), tolerance)
    ]
    if not any(check.difference.compared for check in checks):
        raise VerificationError(
            "the model detects nothing that could be compared: all its scores are equal",
            where=loaded.name,
            hint="is the checkpoint trained?",
        )
    return tuple(checks)


def _check_sample(
    model: Model,
    graph: Graph,
    reference: Reference,
    labels: int,
    tolerance: Tolerance,
) -> Iterator[Check]:
    sample = reference.sample
    where = f"sample {sample.name}"
    names = [tensor.name for tensor in graph.outputs]
    actual = _answers(model.run(names, sample.feeds, where), sample, labels, f"{where}, ONNX")
    against: list[tuple[Against, Answers]] = [(graph.origin, reference.answers)]
    if sample.rows > 1:
        against.append(("each row alone", model.rows_alone(names, sample, where)))
    if sample.tokens is not None:
        alone = model.rows_alone(names, sample, where, cut=True)
        against.append(("each row unpadded", alone))
    for other, answers in against:
        place = f"{where}, against {other}"
        try:
            difference = compare(answers, actual, tolerance, where=place)
        except VerificationError as error:
            hint = _HINTS.get(other, error.hint)
            raise VerificationError(error.what, where=place, hint=hint) from None
        yield Check(sample.name, other, sample.rows, sample.tokens, difference)


def _answers(answers: Answers, sample: Sample, labels: int, where: str) -> Answers:
    """Check the answers and cut off those of rows that are nothing but padding."""
    for name, array in answers.items():
        if len(array) != sample.rows:
            raise VerificationError(f"{name} has {len(array)} rows for {sample.rows}", where=where)
    kept = {name: array[: sample.defined_rows] for name, array in answers.items()}
    check_answers(kept, sample.defined_rows, labels, where=where)
    return kept


def _reference(graph: Graph, sample: Sample, labels: int) -> Answers:
    where = f"sample {sample.name}"
    try:
        answers = graph.reference(sample.feeds)
    except InferctlError:
        raise
    except FOREIGN_ERRORS as error:
        raise VerificationError(
            f"{_ORIGINS[graph.origin]} fails: {type(error).__name__}: {first_line(error)}",
            where=where,
            hint="it must take any number of rows, and texts of up to --max-tokens",
        ) from None
    return _answers(answers, sample, labels, f"{where}, {graph.origin}")
