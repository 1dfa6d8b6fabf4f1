"""From a request's bytes and lists to arrays: sizes are compared before anything is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from math import prod
from struct import Struct
from typing import Any

import numpy as np

from inferctl.refusals import Unprocessable
from inferctl.server.dialects.v2.signature import Port
from inferctl.tasks.base import Array, Body

LENGTH = Struct("<I")
FEW_NUMBERS = 64
WHOLE_NUMBERS = {int}
NUMBERS = {int, float}

Shape = tuple[int, ...]


def check_values(port: Port, flat: Array, rows: int) -> None:
    """Refuse what would fail a batch, or pass unseen: NaN, infinity, an id that is none.

    `flat` are all numbers of all rows. Raises Unprocessable.
    """
    if port.is_float:
        # What float32 holds has a finite sum in Python's floats, and numpy takes longer for a few.
        if flat.size > FEW_NUMBERS or not math.isfinite(sum(flat.tolist())):
            _refuse_rows(port, np.isfinite(flat), rows, "a number that is not finite")
    elif port.is_bounded and (flat.min() < port.low or flat.max() > port.high):
        inside = (flat >= port.low) & (flat <= port.high)
        _refuse_rows(port, inside, rows, f"a value outside {port.low} to {port.high}")


def _refuse_rows(port: Port, good: Array, rows: int, what: str) -> None:
    """Refuse the first row that is not good, if there is one."""
    bad = np.flatnonzero(~good.reshape(rows, -1).all(axis=1))
    if len(bad):
        raise Unprocessable(f"{port.name}: row {bad[0]} holds {what}")


def values_of(port: Port, shape: Shape, data: Any) -> Array:
    """An input's numbers in JSON, flat or nested, as an array. Raises Unprocessable.

    They are checked as Python's: for few of them, the usual case, numpy takes longer.
    """
    flat = _flat(shape, data)
    if not flat or not set(map(type, flat)) <= (NUMBERS if port.is_float else WHOLE_NUMBERS):
        raise Unprocessable(
            f"{port.name}: data must be {port.datatype} numbers of the shape, nested or flat"
        )
    if min(flat) < port.low or max(flat) > port.high:
        inside = np.array([port.low <= number <= port.high for number in flat])
        what = f"a value outside {port.low} to {port.high}"
        _refuse_rows(port, inside, shape[0], what)
    return np.array(flat, port.dtype).reshape(shape)


def _flat(shape: Shape, data: Any) -> list[Any]:
    """The numbers of flat data, or of lists nested as the shape says; empty if it is neither."""
    count = prod(shape)
    if not isinstance(data, list) or len(data) not in (shape[0], count):
        return []
    if type(data[0]) is not list:
        return data if len(data) == count else []
    flat = data
    for side in shape[1:]:
        if not all(type(part) is list and len(part) == side for part in flat):
            return []
        flat = list(chain.from_iterable(flat))
    return flat


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
