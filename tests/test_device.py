"""What runtime.device may be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from inferctl.device import device_of, is_strict, may_be_several, number_of, numbers_of
from inferctl.settings import RuntimeSettings


@pytest.mark.parametrize(
    ("device", "strict", "number"),
    [
        ("auto", False, 0), ("cpu", False, 0), ("cuda", True, 0), ("cuda:0", True, 0),
        ("cuda:7", True, 7), ("cuda:12", True, 12),
    ],
)  # fmt: skip
def test_a_device_is_a_word_or_a_number_of_cuda(device: str, strict: bool, number: int) -> None:
    assert RuntimeSettings(device=device).device == device
    assert (is_strict(device), number_of(device)) == (strict, number)


@pytest.mark.parametrize(
    "device",
    [
        "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:01", "cuda:1000", "cuda:1 ", "cpu:0", "",
        "cuda:0,", "cuda:,1", "cuda:0, 1", "cuda:0,all", "cuda:0-3", "cuda:0,1000",
    ],
)  # fmt: skip
def test_no_other_word_is_a_device(device: str) -> None:
    with pytest.raises(ValidationError, match=r"should be 'auto', .* 'cuda:N,M' or 'cuda:all'"):
        RuntimeSettings(device=device)


@pytest.mark.parametrize(
    ("device", "numbers"),
    [("cuda", (0,)), ("cuda:2", (2,)), ("cuda:0,1", (0, 1)), ("cuda:3,0", (3, 0)),
     ("cuda:all", (0, 1, 2, 3))],
)  # fmt: skip
def test_several_devices_are_named_or_are_all_there_are(
    device: str, numbers: tuple[int, ...]
) -> None:
    assert RuntimeSettings(device=device).device == device
    assert numbers_of(device, there=4) == numbers
    assert may_be_several(device) == (len(numbers) > 1)
    assert is_strict(device)


def test_one_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="should name no device twice"):
        RuntimeSettings(device="cuda:1,0,1")


def test_devices_are_called_as_they_are_asked_for() -> None:
    assert device_of([0]) == "cuda:0"
    assert numbers_of(device_of([2, 0])) == (2, 0)
