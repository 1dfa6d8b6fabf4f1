"""Numbers as people read them."""

from __future__ import annotations

import pytest

from inferctl.top.wording import duration, memory, of_series, printable, shown, sparkline


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0, "0.0"), (1.26, "1.3"), (123.4, "123"), (12345, "12,345")]
)
def test_a_number(value: float | None, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 MiB"), (5 * 2**20, "5 MiB"), (3 * 2**29, "1.5 GiB")]
)
def test_memory(size: float, text: str) -> None:
    assert memory(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (3660, "1 h 1 min"), (90000, "1 d 1 h")],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("memory_used_bytes", 2**30, "memory used 1.0 GiB"),
        ("utilisation_ratio", 0.5, "utilisation 50.0 %"),
        ("temperature_celsius", 60, "temperature 60.0 °C"),
        ("fans", 2, "fans 2"),
    ],
)
def test_a_gauge_by_its_name(name: str, value: float, text: str) -> None:
    assert of_series(name, value) == text


def test_a_sparkline_has_a_bar_for_each() -> None:
    assert sparkline([0, 50, None, 100]) == "▁▅ █"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([None]) == " "


def test_what_a_terminal_would_obey_is_not_passed_on() -> None:
    assert printable("a\x1b[31mé\n") == "a�[31mé�"
