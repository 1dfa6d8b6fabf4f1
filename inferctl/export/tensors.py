"""Samples for graphs of which nothing is known but their tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from inferctl.bundles.manifest import Tensor
from inferctl.export.samples import BATCH_SIZES, Sample

_SEED = 7


def tensor_samples(inputs: Sequence[Tensor]) -> Iterator[Sample]:
    """Normal numbers for floats, 0 and 1 for integers, which may be indices; zeros at the end."""
    random = np.random.default_rng(_SEED)
    for rows in BATCH_SIZES:
        feeds = {tensor.name: _values(tensor, rows, random) for tensor in inputs}
        yield Sample("1 row" if rows == 1 else f"{rows} rows", rows, None, feeds)
    zeros = {name: np.zeros_like(array) for name, array in feeds.items()}
    yield Sample("zeros", BATCH_SIZES[-1], None, zeros)


def _values(tensor: Tensor, rows: int, random: np.random.Generator) -> npt.NDArray[Any]:
    shape = (rows, *tensor.row_shape(1))
    if tensor.dtype.startswith("float"):
        return random.normal(size=shape).astype(tensor.dtype)
    return random.integers(0, 2, shape).astype(tensor.dtype)
