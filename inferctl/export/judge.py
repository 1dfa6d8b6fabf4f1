"""Runs a graph on a sample and holds its answers against its task, its own rows and other graphs.

Needs neither torch nor onnx: an export and `inferctl check` judge alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from inferctl.bundles.manifest import Precision, Tensor
from inferctl.errors import VerificationError
from inferctl.export.agreement import LIMITS, Row, compare_rows
from inferctl.export.compare import Answers, Tolerance, check_answers, compare
from inferctl.export.runtime import Model
from inferctl.export.samples import Sample

ALONE, UNPADDED = "each row alone", "each row unpadded"
_FP32 = Tolerance(1e-4, 1e-3)


@dataclass(frozen=True, slots=True)
class Judge:
    """What is promised of a graph: its outputs, the names of its labels, its precision."""

    outputs: tuple[Tensor, ...]
    labels: tuple[str, ...]
    precision: Precision

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(tensor.name for tensor in self.outputs)

    def answers(self, model: Model, sample: Sample) -> Answers:
        """Run a sample; raises VerificationError when an answer breaks the task's contract."""
        where = f"sample {sample.name}"
        answers = model.run(self.names, sample.feeds, where)
        for tensor in self.outputs:
            shape = answers[tensor.name].shape
            if shape[:1] != (sample.rows,) or shape[1:] != tensor.shape[1:]:
                raise VerificationError(
                    f"{tensor.name} has shape {list(shape)} for {sample.rows} rows of "
                    f"{list(tensor.shape[1:])}",
                    where=where,
                )
        kept = {name: array[: sample.defined_rows] for name, array in answers.items()}
        check_answers(kept, sample.defined_rows, len(self.labels), where=where)
        return kept

    def own_kinds(self, sample: Sample) -> Iterator[str]:
        """What else the rows of a sample can be run as."""
        if sample.rows > 1:
            yield ALONE
        if sample.tokens is not None:
            yield UNPADDED

    def own_answers(self, kind: str, model: Model, sample: Sample) -> Answers:
        """The answers of each row alone, or for `UNPADDED` without its padding too."""
        where = f"sample {sample.name}"
        return model.rows_alone(self.names, sample, where, cut=kind == UNPADDED)

    def beside(self, expected: Answers, actual: Answers, sample: Sample, other: str) -> list[Row]:
        """Two answers to a sample, row by row; raises VerificationError when fp32's differ."""
        known = "boxes" in expected or set(expected) == {"scores"}
        if self.precision == "fp32" and known:
            # Strict: every detection counts, not only those of a high score.
            compare(expected, actual, _FP32, where=f"sample {sample.name}, against {other}")
        limits = LIMITS[self.precision]
        return list(compare_rows(expected, actual, limits, sample.name, self.labels))
