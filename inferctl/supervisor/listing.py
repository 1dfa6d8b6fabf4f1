"""Every version that there is, and what became of it."""

from __future__ import annotations

from pathlib import Path

from inferctl.arena.spec import Roster
from inferctl.bundles.repository import version_folders
from inferctl.errors import BundleError


def list_versions(
    models_dir: Path, roster: Roster, loading: tuple[str, int] | None
) -> list[dict[str, str]]:
    """What lies in the folder, and what is served though it lies there no more; by name."""
    try:
        shelf = version_folders(models_dir)
    except BundleError:
        shelf = {}
    served = {(name, v) for name, model in roster.models.items() for v in model.places}
    versions = {(name, version) for name, found in shelf.items() for version in found} | served
    return [
        {"name": name, "version": str(version)}
        | _state(name, version, roster, is_loading=(name, version) == loading)
        for name, version in sorted(versions)
    ]


def _state(name: str, version: int, roster: Roster, *, is_loading: bool) -> dict[str, str]:
    if name in roster.models and version in roster.models[name].places:
        return {"state": "READY", "reason": ""}
    if is_loading:
        return {"state": "LOADING", "reason": ""}
    problem = roster.problems.get(f"{name} version {version}", "not asked for")
    return {"state": "UNAVAILABLE", "reason": problem}
