"""From a request's bytes and lists to arrays: sizes are compared before anything is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from math import prod
from struct import Struct
from typing import Any

import numpy as np

from inferctl.errors import Unprocessable
from inferctl.server.dialects.v2.signature import Port
from inferctl.tasks.base import Array, Body

LENGTH = Struct("<I")
FEW_NUMBERS = 64

Shape = tuple[int, ...]


def check_values(port: Port, array: Array) -> None:
    """Refuse what would fail a batch, or pass unseen: NaN, infinity, an id that is none.

    `array` is [rows, ...]. Raises Unprocessable.
    """
    if port.is_float:
        # What float32 holds has a finite sum in Python's floats, and numpy takes longer for a few.
        few = array.size <= FEW_NUMBERS
        if few and math.isfinite(sum(array.ravel().tolist())):
            return
        _refuse_rows(port, np.isfinite(array), "a number that is not finite")
    elif port.highest is not None and (array.min() < 0 or array.max() > port.highest):
        inside = (array >= 0) & (array <= port.highest)
        _refuse_rows(port, inside, f"a value outside 0 to {port.highest}")


def _refuse_rows(port: Port, good: Array, what: str) -> None:
    rows = np.flatnonzero(~good.reshape(len(good), -1).all(axis=1))
    if len(rows):
        raise Unprocessable(f"{port.name}: row {rows[0]} holds {what}")


def values_of(port: Port, shape: Shape, data: Any) -> Array:
    """An input's numbers in JSON, flat or nested, as an array. Raises Unprocessable."""
    refusal = Unprocessable(
        f"{port.name}: data must be {port.datatype} numbers of the shape, nested or flat"
    )
    count = prod(shape)
    if not isinstance(data, list) or len(data) not in (shape[0], count):
        raise refusal
    try:
        array = np.array(data)
    except ValueError:  # lists of different lengths, or too deep
        raise refusal from None
    if array.shape not in (shape, (count,)) or array.dtype.kind not in "iuf"[: 2 + port.is_float]:
        raise refusal
    limits = np.finfo(port.dtype) if port.is_float else np.iinfo(port.dtype)
    if not (array.min() >= limits.min and array.max() <= limits.max):
        raise Unprocessable(f"{port.name}: data holds a number that {port.datatype} does not")
    return array.astype(port.dtype).reshape(shape)


def framed(name: str, data: memoryview, count: int) -> list[Body]:
    """The elements of a binary BYTES tensor, a length before each. Raises Unprocessable."""
    elements: list[Body] = []
    place = 0
    for _ in range(count):
        start = place + LENGTH.size
        if start > len(data):
            break
        place = start + LENGTH.unpack_from(data, place)[0]
        if place > len(data):
            break
        elements.append(bytes(data[start:place]))
    if len(elements) < count or place != len(data):
        raise Unprocessable(f"{name}: its bytes are not {count} elements, each after its length")
    return elements


def strings(name: str, data: Any, count: int) -> list[str]:
    """The elements of a BYTES tensor in JSON. Raises Unprocessable."""
    if isinstance(data, list) and len(data) == count:
        nested = all(isinstance(part, list) for part in data)
        flat = list(chain.from_iterable(data)) if nested else data
        if len(flat) == count and all(isinstance(part, str) for part in flat):
            return flat
    raise Unprocessable(f"{name}: data must be {count} strings")


def trimmed(tensors: dict[str, Array]) -> tuple[dict[str, Array], int]:
    """Without the columns at the end that no row's mask keeps, and how many tokens are left."""
    mask = tensors.get("attention_mask")
    if mask is None:
        return tensors, _tokens(tensors.values())
    kept = np.flatnonzero(mask.any(axis=0))
    tokens = int(kept[-1]) + 1 if len(kept) else 1
    return {name: array[:, :tokens] for name, array in tensors.items()}, tokens


def _tokens(arrays: Any) -> int:
    first: Sequence[Any] = next(iter(arrays))
    return int(np.shape(first)[1])
