"""What is tuned, and what its measurements depend on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inferctl.bench.slo import parse_slo
from inferctl.errors import BundleError, UsageError
from inferctl.settings import Settings
from inferctl.sources import load_settings
from inferctl.tune.plan import Plan, machine, read_plan
from inferctl.tune.space import base_candidate
from tests.tune.conftest import plan_of, write_version


def read(model: Path, *more: Path, budget_s: float = 60.0) -> Plan:
    return read_plan(
        model, more, Settings(), config=None, flags={}, slo=parse_slo("p99<50ms"),
        budget_s=budget_s, data=None, state=Path("state"),
    )  # fmt: skip


def test_the_newest_version_is_what_is_set_now(bundle: Path) -> None:
    write_version(bundle, version=2)

    assert [one.version for one in read(bundle).variants] == [2]
    assert [one.version for one in read(bundle / "1").variants] == [1]


def test_the_newest_of_each_precision_is_a_variant(bundle: Path) -> None:
    write_version(bundle, version=2, precision="int8")
    write_version(bundle, version=3, precision="int8")
    write_version(bundle, version=4)

    assert [one.version for one in read(bundle).variants] == [4, 3]


def test_a_version_that_answers_otherwise_is_no_variant(bundle: Path) -> None:
    write_version(bundle, version=2, precision="int8", outputs=[
        {"name": "scores", "dtype": "float32", "shape": ["rows", 3]}])  # fmt: skip

    assert len(read(bundle).variants) == 1


def test_a_variant_may_be_named(bundle: Path, tmp_path: Path) -> None:
    other = write_version(tmp_path / "net-int8", precision="int8")

    assert [one.name for one in read(bundle, other).variants] == ["net", "net-int8"]


def test_what_is_no_variant_is_refused(bundle: Path, tmp_path: Path) -> None:
    other = write_version(
        tmp_path / "other", inputs=[{"name": "x", "dtype": "uint8", "shape": ["rows", 2]}]
    )

    with pytest.raises(BundleError, match="other is no variant of net"):
        read(bundle, other)


def test_a_folder_of_several_models_leaves_a_choice_open(bundle: Path) -> None:
    write_version(bundle.parent / "other")

    with pytest.raises(UsageError, match="several models"):
        read(bundle.parent)


def test_a_budget_that_is_too_short_is_refused(bundle: Path) -> None:
    with pytest.raises(UsageError, match="too short"):
        read(bundle, budget_s=5.0)


def test_the_question_is_another_with_another_model_limit_or_setting(
    plan: Plan, bundle: Path, tmp_path: Path
) -> None:
    question = plan.question()
    batching = Settings.model_validate({"batching": {"max_wait_ms": 3}})
    port = Settings.model_validate({"server": {"port": 1}})

    assert replace(plan, slo=parse_slo("p99<60ms")).question() != question
    assert replace(plan, settings=batching).question() != question
    assert replace(plan, settings=port).question() == question
    write_version(bundle, version=2)
    assert plan_of(bundle, tmp_path).question() != question


def test_the_question_is_another_with_other_metrics_or_inputs(plan: Plan, tmp_path: Path) -> None:
    data = tmp_path / "texts.txt"
    data.write_text("one\n")
    asked = replace(plan, data=data)
    question = asked.question()
    metrics = Settings.model_validate({"metrics": {"gpu": not Settings().metrics.gpu}})

    assert asked.question() == question
    assert replace(plan, settings=metrics).question() != plan.question()
    data.write_text("one\ntwo\n")
    assert asked.question() != question


def test_variants_that_are_called_alike_are_two(bundle: Path, tmp_path: Path) -> None:
    """The same name, version and precision, of another export."""
    other = write_version(tmp_path / "again" / "net", producer="another export")
    plan = read(bundle, other)
    base, named = (base_candidate(plan.settings, one) for one in plan.variants)

    assert str(base) == str(named)
    assert named.beside(base) == f"net v1 (fp32) in {other.resolve()}"
    assert len(plan.space().axes["variant"]) == 2
    assert len(set(plan.question()["model"])) == 2


def test_windows_are_as_long_as_the_budget_allows(plan: Plan) -> None:
    assert replace(plan, budget_s=20.0).longest_window_s == 2.0
    assert replace(plan, budget_s=300.0).longest_window_s == 7.5
    assert replace(plan, budget_s=3600.0).longest_window_s == 15.0


def test_what_the_command_line_sets_is_laid_over_the_file(bundle: Path, tmp_path: Path) -> None:
    """Words become values."""
    config = tmp_path / "mine.toml"
    config.write_text("[limits]\nmax_rows = 4\nmax_pixels = 9\n")
    flags = {"limits": {"max_rows": "3"}}
    plan = read_plan(
        bundle, [], load_settings(flags, config).settings, config=config, flags=flags,
        slo=parse_slo("p99<50ms"), budget_s=60.0, data=None, state=tmp_path,
    )  # fmt: skip

    assert plan.config_tree == {"limits": {"max_rows": 3, "max_pixels": 9}}


def test_a_secret_of_the_command_line_is_written_as_it_was_given(bundle: Path) -> None:
    hashed, url = f"sha256:{'0' * 64}", "redis://:word@localhost:6379/0"
    flags = {"server": {"api_keys": {"a": hashed}}, "jobs": {"redis_url": url}}
    plan = read_plan(
        bundle, (), Settings.model_validate(flags), config=None, flags=flags,
        slo=parse_slo("p99<50ms"), budget_s=60, data=None, state=Path("state"),
    )  # fmt: skip

    assert plan.config_tree == flags


def test_a_damaged_version_is_no_variant_of_a_good_one(bundle: Path) -> None:
    damaged = write_version(bundle, version=2, precision="int8")
    write_version(bundle, version=3)
    (damaged / "manifest.json").write_text("{")

    assert [one.version for one in read(bundle).variants] == [3]


def test_the_question_is_another_on_another_gpu(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan.question()
    card = tmp_path / "driver" / "nvidia" / "gpus" / "0000:01:00.0"
    card.mkdir(parents=True)
    (card / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 1\n")
    monkeypatch.setattr("inferctl.tune.plan.PROC", tmp_path)

    assert machine()["gpus"] == ["NVIDIA H200"]
    assert plan.question() != before


@pytest.mark.parametrize(
    ("device", "on_gpu"),
    [("cpu", False), ("cuda", True), ("cuda:1", True), ("cuda:0,1", True), ("cuda:all", True)],
)
def test_every_name_of_a_gpu_is_one(device: str, on_gpu: bool, bundle: Path) -> None:
    settings = Settings.model_validate({"runtime": {"device": device}})

    assert replace(read(bundle), settings=settings).on_gpu is on_gpu
