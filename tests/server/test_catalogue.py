"""Which version a request means."""

from __future__ import annotations

import pytest

from inferctl.refusals import NotFound
from inferctl.server.catalogue import Catalogue
from tests.tasks.tinybundles import classifier, detector

from .wiring import ServedModel, catalogue_of, make_models, roster_of


@pytest.fixture
def models() -> list[ServedModel]:
    versions = [classifier(version=version) for version in (2, 10, 9)]
    return make_models(*versions, detector())


def test_a_version_is_found_by_number_and_by_name(models: list[ServedModel]) -> None:
    two, ten, nine, shapes = models
    catalogue = catalogue_of(*models, stable=2)
    expected = {"2": two, "9": nine, "10": ten, "latest": ten, "stable": two, "": ten}
    assert {version: catalogue.find("animals", version) for version in expected} == expected
    assert catalogue.find("shapes") is shapes
    assert catalogue.models == {"animals": ten, "shapes": shapes}


@pytest.mark.parametrize("asked", ["1", "02", "canary", "Latest", " 2", "2.0", "-2"])
def test_another_version_is_not_found(models: list[ServedModel], asked: str) -> None:
    with pytest.raises(NotFound, match="this version is not served"):
        catalogue_of(*models, stable=2).find("animals", asked)


def test_another_model_is_not_found(models: list[ServedModel]) -> None:
    with pytest.raises(NotFound, match="no such model"):
        catalogue_of(*models).find("animal")


def test_of_no_models_none_is_the_default_one() -> None:
    catalogue = Catalogue()
    assert catalogue.default is None
    assert catalogue.models == {}


def test_another_roster_takes_the_place_of_the_last_one(models: list[ServedModel]) -> None:
    catalogue = catalogue_of(*models, stable=2)
    two = models[0]
    catalogue.renew(roster_of(two).model_copy(update={"default": "animals"}), {two.place: two})
    assert catalogue.default is catalogue.find("animals", "latest") is two
    with pytest.raises(NotFound):
        catalogue.find("animals", "stable")
    described = catalogue.describe(two)
    assert (described.versions, described.version_labels, described.default) == ((2,), {}, True)
