"""The imported file, run as its exporter meant it: on one row, with its own types."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from inferctl.errors import CheckpointError
from inferctl.export.compare import Answers
from inferctl.export.imported.model import ImportedModel
from inferctl.export.imported.pixels import prepared
from inferctl.export.imported.texts import TYPES
from inferctl.export.runtime import Model
from inferctl.export.samples import Feeds

_INTEGERS = {6: np.int32, 7: np.int64}


class Original:
    """Runs the file; knows its feeds from those of a bundle."""

    def __init__(self, model: ImportedModel) -> None:
        """Load the file.

        Raises CheckpointError when it is too large with all of its weights, VerificationError when
        ONNX Runtime refuses it.
        """
        self._model = model
        self._outputs = [value.name for value in model.file.proto.graph.output]
        self._session: Model | None = Model(_serialised(model.file.proto))

    def close(self) -> None:
        """Give back the memory that the file takes; no row can be run any more."""
        self._session = None

    def rows(self, feeds: Feeds, where: str) -> list[Answers]:
        """The raw outputs of each row alone; raises VerificationError when a run fails."""
        session = self._session
        assert session is not None  # it is closed when all was asked
        count = len(next(iter(feeds.values())))
        return [
            session.run(self._outputs, self._feeds(feeds, row), f"{where}, row {row}")
            for row in range(count)
        ]

    def _feeds(self, feeds: Feeds, row: int) -> Feeds:
        model = self._model
        if model.pixels is not None:
            picture: npt.NDArray[Any] = feeds["image"][row]
            return {model.pixels.name: prepared(picture, model.pixels, model.normalisation)}
        one = {name: array[row : row + 1] for name, array in feeds.items()}
        if model.text is not None:
            one[TYPES] = np.zeros_like(one["input_ids"])
        kinds = {value.name: value.type.tensor_type.elem_type for value in model.file.inputs}
        return {
            name: one[name].astype(_INTEGERS.get(kind, one[name].dtype), copy=False)
            for name, kind in kinds.items()
        }


def _serialised(proto: onnx.ModelProto) -> bytes:
    try:
        return bytes(proto.SerializeToString())
    except (EncodeError, ValueError):
        raise CheckpointError("the graph is larger than the 2 GB that an ONNX file holds") from None
