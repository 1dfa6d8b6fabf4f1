"""What `runtime.device` may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

WORDS = ("auto", "cpu", "cuda")
ALL = "cuda:all"
NUMBER = "(0|[1-9][0-9]{0,2})"
NUMBERED = f"^cuda:{NUMBER}(,{NUMBER})*$"


def is_device(given: str) -> bool:
    """Whether it is one of `WORDS`, `ALL`, or CUDA's devices of some numbers."""
    return given in (*WORDS, ALL) or re.fullmatch(NUMBERED, given) is not None


def may_be_several(device: str) -> bool:
    """Whether it means several, or would where there are several."""
    return device == ALL or len(numbers_of(device)) > 1


def _checked(given: str) -> str:
    if not is_device(given):
        raise PydanticCustomError(
            "device", "should be 'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:N,M' or 'cuda:all'"
        )
    if len(numbers_of(given)) > len(set(numbers_of(given))):
        raise PydanticCustomError("device", "should name no device twice")
    return given


Device = Annotated[
    str,
    AfterValidator(_checked),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*WORDS, ALL]},
                {"type": "string", "pattern": NUMBERED, "examples": ["cuda:1", "cuda:0,1"]},
            ]
        }
    ),
]


def is_strict(device: str) -> bool:
    """Whether nothing else than CUDA will do."""
    return device.startswith("cuda")


def numbers_of(device: str, there: int = 1) -> tuple[int, ...]:
    """The devices' numbers among those that CUDA shows here, in their order; the first one's if
    none is named, and all of those that are `there` if all are meant."""
    if device == ALL:
        return tuple(range(there))
    return tuple(int(number) for number in (device.partition(":")[2] or "0").split(","))


def number_of(device: str) -> int:
    """The number of the first one."""
    return numbers_of(device)[0]


def device_of(numbers: Sequence[int]) -> str:
    """How the devices of these numbers are called together."""
    return f"cuda:{','.join(map(str, numbers))}"
