"""What the folder of models and the settings say is to be served."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from inferctl.bundles.repository import version_folders
from inferctl.errors import SettingsError
from inferctl.settings import ModelSettings, Settings

# The label of the version that answers when a request names none.
STABLE = "stable"

Shelf = dict[str, dict[int, Path]]


class Wanted(NamedTuple):
    """The versions of a model to be served: their folders, and which one is the default."""

    folders: dict[int, Path]
    default: int
    labels: dict[str, int]


def survey(settings: Settings) -> Shelf:
    """Every version there is, by model. Raises BundleError, and SettingsError for what has none."""
    shelf = version_folders(Path(settings.models_dir))
    for name in settings.models:
        if name not in shelf:  # it would silently keep its defaults
            raise SettingsError(
                f"models.{name}: no such model; found: {', '.join(shelf)}",
                hint="correct the name, or remove the section",
            )
    default_model(shelf, settings)
    return shelf


def default_model(names: Collection[str], settings: Settings) -> str | None:
    """The model that answers /predict: the marked one, or the only one. Raises SettingsError."""
    marked = [name for name in names if settings.for_model(name).default]
    if len(marked) > 1:
        raise SettingsError(
            f"{' and '.join(marked)} are both marked as default", hint="keep one `default = true`"
        )
    return next(iter(names if len(names) == 1 else marked), None)


def choose(name: str, found: Mapping[int, Path], own: ModelSettings) -> Wanted:
    """The versions of a model to serve. Raises SettingsError for one that there is not."""
    labelled = set(own.labels.values())
    versions = {max(found)} | labelled if own.versions == "latest" else set(own.versions)
    if beyond := labelled - versions:
        raise SettingsError(
            f"models.{name}.labels: version {min(beyond)} is not among models.{name}.versions",
            hint="add it there, or remove its label",
        )
    if missing := versions - set(found):
        raise SettingsError(
            f"models.{name}: version {min(missing)} is not there; "
            f"found: {', '.join(map(str, found))}",
            hint="correct versions and labels, or export it",
        )
    return Wanted(
        folders={version: found[version] for version in sorted(versions)},
        default=own.labels.get(STABLE, max(versions)),
        labels=own.labels,
    )
