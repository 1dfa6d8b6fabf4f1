"""What promtool says of the shipped rules."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from docs.generate import REPOSITORY

SHIPPED = REPOSITORY / "deploy" / "prometheus"
RULES = ("recording.yml", "alerts.yml")


def promtool(*arguments: str | Path) -> None:
    """Run it; raises AssertionError with what it says when it is not content."""
    ran = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def groups(name: str) -> dict[str, list[dict[str, Any]]]:
    """The groups of rules of a file, by their names."""
    found = yaml.safe_load((SHIPPED / name).read_text())["groups"]
    return {group["name"]: group["rules"] for group in found}


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file."""
    return [rule for group in groups(name).values() for rule in group]
