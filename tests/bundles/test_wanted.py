"""What the folder and the settings must agree on: which versions are served, and which answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inferctl.bundles.wanted import choose, default_model, survey
from inferctl.errors import BundleError, SettingsError
from inferctl.settings import ModelSettings, Settings
from tests.graphs import image_fields, image_graph, write_bundle

FOUND = {version: Path(f"models/shapes/{version}") for version in (1, 2, 10)}


def chosen(**own: Any) -> tuple[list[int], int]:
    """The versions that are served, and the default one."""
    wanted = choose("shapes", FOUND, ModelSettings.model_validate(own))
    assert wanted.folders.items() <= FOUND.items()
    return list(wanted.folders), wanted.default


@pytest.mark.parametrize(
    ("own", "versions", "default"),
    [
        ({}, [10], 10),
        ({"versions": "latest"}, [10], 10),
        ({"versions": [1]}, [1], 1),
        ({"versions": [2, 1]}, [1, 2], 2),
        ({"versions": "1,2"}, [1, 2], 2),
        ({"labels": {"stable": 1}}, [1, 10], 1),
        ({"labels": {"stable": 1, "canary": 2}}, [1, 2, 10], 1),
        ({"labels": {"canary": 2}}, [2, 10], 10),
        ({"versions": [1, 2], "labels": {"canary": 2, "stable": 1}}, [1, 2], 1),
    ],
)
def test_the_newest_the_pinned_and_the_labelled_are_served(
    own: dict[str, Any], versions: list[int], default: int
) -> None:
    assert chosen(**own) == (versions, default)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"versions": [1, 3]}, "models.shapes: version 3 is not there; found: 1, 2, 10"),
        ({"labels": {"stable": 4}}, "models.shapes: version 4 is not there; found: 1, 2, 10"),
        (
            {"versions": [1], "labels": {"stable": 2}},
            "models.shapes.labels: version 2 is not among models.shapes.versions",
        ),
    ],
)
def test_versions_that_cannot_be_served_are_named(own: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(**own)
    assert caught.value.what == said
    assert caught.value.hint


def marked(*names: str) -> Settings:
    return Settings.model_validate({"models": {name: {"default": True} for name in names}})


def test_the_only_model_is_the_default_one() -> None:
    assert default_model(["shapes"], Settings()) == "shapes"


def test_of_several_models_only_a_marked_one_is_the_default_one() -> None:
    assert default_model(["shapes", "animals"], Settings()) is None
    assert default_model(["shapes", "animals"], marked("animals")) == "animals"


def test_two_default_models_are_refused() -> None:
    with pytest.raises(SettingsError, match="shapes and animals are both marked as default"):
        default_model(["shapes", "animals"], marked("animals", "shapes"))


def put(folder: Path, *versions: int) -> Path:
    for version in versions:
        fields = image_fields(name="shapes", version=version)
        write_bundle(folder / "shapes" / str(version), image_graph(), fields)
    return folder


def settings_for(folder: Path, *models: str) -> Settings:
    return Settings.model_validate(
        {"models_dir": str(folder), "models": {name: {} for name in models}}
    )


def test_every_version_is_found(tmp_path: Path) -> None:
    put(tmp_path, 2, 10, 1)
    folders = {version: tmp_path / "shapes" / str(version) for version in (1, 2, 10)}
    assert survey(settings_for(tmp_path)) == {"shapes": folders}
    assert survey(settings_for(tmp_path / "shapes")) == {"shapes": folders}
    assert survey(settings_for(folders[2])) == {"shapes": {2: folders[2]}}


def test_a_misspelt_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"models\.shape: no such model; found: shapes"):
        survey(settings_for(put(tmp_path, 1), "shape"))


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle found"):
        survey(settings_for(tmp_path))
