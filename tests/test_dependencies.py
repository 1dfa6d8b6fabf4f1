"""Nothing is installed that is older than what its known holes were closed in, or avoided."""

from __future__ import annotations

import importlib.util
import tomllib
from importlib.metadata import version
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from docs.generate import REPOSITORY

# The first versions without what is known against them; see docs/security.md.
FLOORS = {
    "pillow": "12.3", "onnx": "1.21", "torch": "2.10", "starlette": "0.49.1", "orjson": "3.9.15",
    "redis": "4.5.5", "h11": "0.16",
}  # fmt: skip


def required() -> dict[str, Requirement]:
    """What pyproject.toml asks for, the extras too."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    return {each.name: each for each in map(Requirement, lines)}


def pinned() -> dict[str, Version]:
    """What constraints.txt installs."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pairs = (line.partition(";")[0].split("==") for line in lines if "==" in line)
    return {name.strip().lower(): Version(number.strip()) for name, number in pairs}


@pytest.mark.row(176)
@pytest.mark.parametrize(("name", "floor"), FLOORS.items())
def test_what_is_asked_for_and_installed_is_new_enough(name: str, floor: str) -> None:
    if name in required():
        (least,) = (each for each in required()[name].specifier if each.operator == ">=")
        assert Version(least.version) >= Version(floor)
    if name in pinned():
        assert pinned()[name] >= Version(floor)
    assert Version(version(name)) >= Version(floor)


@pytest.mark.row(176)
def test_there_is_no_parser_of_multipart() -> None:
    for module in ("multipart", "python_multipart"):
        assert importlib.util.find_spec(module) is None
    assert not [name for name in pinned() if "multipart" in name]
