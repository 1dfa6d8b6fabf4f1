"""The file that is written, as a service would read it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inferctl.bench.slo import parse_slo
from inferctl.bundles.wanted import Wanted, choose, survey
from inferctl.settings import Settings
from inferctl.sources import load_settings
from inferctl.tune.plan import Plan, read_plan
from inferctl.tune.recommended import recommended_text, write_recommended
from inferctl.tune.report import notes
from inferctl.tune.run import Tuned, tune
from inferctl.tune.toml import toml_text
from tests.tune.conftest import Benches, write_version


@pytest.fixture(autouse=True)
def nothing_is_ruled_out(no_curves: None) -> None:
    """What runs cost is measured in seconds."""


def plan_for(model: Path, folder: Path, own: dict[str, object], *variants: Path) -> Plan:
    """Tune a model with a settings file."""
    config = folder / "mine.toml"
    config.write_text(toml_text(own))
    return read_plan(
        model, variants, load_settings(config=config).settings, config=config, flags={},
        slo=parse_slo("p99<50ms"), budget_s=60.0, data=None, state=folder / "state",
    )  # fmt: skip


def written(tuned: Tuned, folder: Path) -> Settings:
    """The settings of the file."""
    file = folder / "tuned.toml"
    write_recommended(tuned, file, force=False)
    return load_settings(config=file).settings


def served(settings: Settings, name: str) -> Wanted:
    """What a service would serve of a model."""
    return choose(name, survey(settings)[name], settings.for_model(name))


def winner_folder(tuned: Tuned) -> Path:
    assert tuned.winner is not None
    return Path(tuned.winner.variant.folder)


def newer_is_better(candidate: object) -> float:
    return 50.0 * candidate.variant.version  # type: ignore[attr-defined]


def test_the_users_folder_of_models_stays_with_what_else_is_in_it(
    bundle: Path, tmp_path: Path
) -> None:
    write_version(bundle.parent / "other")
    own = {
        "models_dir": str(bundle.parent),
        "models": {"other": {"limits": {"max_rows": 2}}, "net": {"limits": {"max_rows": 3}}},
    }
    tuned = tune(plan_for(bundle / "1", tmp_path, own), Benches().open)
    settings = written(tuned, tmp_path)

    assert survey(settings).keys() == {"net", "other"}
    assert settings.for_model("other").limits.max_rows == 2
    assert settings.for_model("net").limits.max_rows == 3
    assert served(settings, "net").folders == {1: bundle / "1"}


def test_the_version_that_was_measured_is_served_though_a_newer_one_comes(
    bundle: Path, tmp_path: Path
) -> None:
    tuned = tune(plan_for(bundle, tmp_path, {}), Benches().open)
    write_version(bundle, version=2)

    assert list(served(written(tuned, tmp_path), "net").folders) == [1]


def test_a_model_that_is_not_in_the_users_folder_is_served_alone(
    bundle: Path, tmp_path: Path
) -> None:
    """Sections of models that are not there would be refused."""
    write_version(tmp_path / "elsewhere" / "other")
    own = {"models_dir": str(tmp_path / "elsewhere"), "models": {"other": {"default": True}}}
    tuned = tune(plan_for(bundle, tmp_path, own), Benches().open)
    settings = written(tuned, tmp_path)

    assert survey(settings).keys() == {"net"}
    assert list(served(settings, "net").folders.values()) == [winner_folder(tuned)]
    assert "# Left out, for it was not measured: models.other." in recommended_text(tuned)


def test_a_variant_of_the_same_version_elsewhere_is_the_one_that_is_served(
    bundle: Path, tmp_path: Path
) -> None:
    other = write_version(tmp_path / "int8" / "net", precision="int8")
    own = {"models_dir": str(bundle.parent), "models": {"net": {"limits": {"max_rows": 3}}}}
    tuned = tune(
        plan_for(bundle, tmp_path, own, other),
        Benches(lambda one: 200.0 if one.variant.precision == "int8" else 100.0).open,
    )

    assert list(served(written(tuned, tmp_path), "net").folders.values()) == [other.resolve()]


def test_what_answers_by_default_is_tuned(bundle: Path, tmp_path: Path) -> None:
    write_version(bundle, version=2)
    write_version(bundle, version=3)
    labelled = {"models": {"net": {"versions": [1, 2, 3], "labels": {"stable": 2}}}}

    assert plan_for(bundle, tmp_path, labelled).bundle.manifest.version == 2
    assert (
        plan_for(bundle, tmp_path, {"models": {"net": {"versions": [1]}}}).bundle.manifest.version
        == 1
    )
    # A bundle that is named is meant.
    assert plan_for(bundle / "3", tmp_path, labelled).bundle.manifest.version == 3


def test_the_label_of_what_answers_goes_with_the_version(bundle: Path, tmp_path: Path) -> None:
    write_version(bundle, version=2, precision="int8")
    labels = {"stable": 1, "old": 1, "new": 2}
    own = {"models_dir": str(bundle.parent), "models": {"net": {"labels": labels}}}
    tuned = tune(plan_for(bundle, tmp_path, own), Benches(newer_is_better).open)
    found = served(written(tuned, tmp_path), "net")

    assert tuned.space.base.variant.version == 1
    assert found.default == 2
    assert list(found.folders) == [2]
    assert found.labels == {"stable": 2, "new": 2}
    assert "Left out, for it was not measured: models.net.labels.old." in recommended_text(tuned)


def test_variables_that_outrank_the_file_are_told_of(plan: Plan) -> None:
    around = {
        "server.workers": "ONE", "models.net.labels.stable": "TWO", "models.gone.default": "THREE",
        "batching.max_wait_ms": "FOUR", "logs.slow_ms": "FIVE",
    }  # fmt: skip
    tuned = tune(replace(plan, surroundings=around), Benches().open)

    (told,) = [note for note in notes(tuned) if "outranks the file" in note]
    assert told.startswith("ONE, TWO, THREE outranks")
    assert not [note for note in notes(tune(plan, Benches().open)) if "outranks" in note]
