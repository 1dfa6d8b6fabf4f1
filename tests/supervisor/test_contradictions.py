"""Settings that fit each their own rule, and not each other: both are named."""

from __future__ import annotations

from typing import Any

import pytest

from inferctl.errors import SettingsError
from inferctl.settings import Settings
from inferctl.supervisor import contradictions
from inferctl.supervisor.contradictions import check_model, check_settings, planned_workers

CORES = 2

CONTRADICTIONS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    (
        {"batching": {"max_batch_rows": 9}, "limits": {"max_queue_rows": 8}},
        ("batching.max_batch_rows = 9", "limits.max_queue_rows = 8"),
    ),
    (
        {"batching": {"max_wait_ms": 50}, "server": {"request_timeout_ms": 50}},
        ("batching.max_wait_ms = 50", "server.request_timeout_ms = 50"),
    ),
    (
        {"runtime": {"tensorrt": True, "device": "cpu"}},
        ("runtime.tensorrt = true", "runtime.device = cpu"),
    ),
    (
        {"runtime": {"instances": 3, "intra_op_threads": 3}},
        ("runtime.instances = 3", "runtime.intra_op_threads = 3", "2 cores"),
    ),
    ({"runtime": {"instances": 9}}, ("runtime.instances = 9", "runtime.intra_op_threads = auto")),
    ({"server": {"workers": 9}}, ("server.workers = 9", "2 cores")),
    (
        {"server": {"request_timeout_ms": 9, "max_request_timeout_ms": 8}},
        ("server.request_timeout_ms = 9", "server.max_request_timeout_ms = 8"),
    ),
]

AGREEMENTS: list[dict[str, Any]] = [
    {},
    {"batching": {"max_batch_rows": 8}, "limits": {"max_queue_rows": 8}},
    {"batching": {"max_wait_ms": 49}, "server": {"request_timeout_ms": 50}},
    {"runtime": {"instances": 4, "intra_op_threads": 2}},
    {"server": {"workers": 8}},
    {"server": {"request_timeout_ms": 8, "max_request_timeout_ms": 8}},
]


def refusal(tree: dict[str, Any]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        check_settings(Settings.model_validate(tree), CORES)
    return str(caught.value).split("\n")


@pytest.mark.row(117)
@pytest.mark.parametrize(("tree", "names"), CONTRADICTIONS)
def test_what_contradicts_itself_is_refused_with_both_names(
    tree: dict[str, Any], names: tuple[str, ...]
) -> None:
    (line,) = refusal(tree)
    assert all(name in line for name in names)


@pytest.mark.parametrize("tree", AGREEMENTS)
def test_what_just_agrees_is_accepted(tree: dict[str, Any]) -> None:
    check_settings(Settings.model_validate(tree), CORES)


@pytest.mark.row(117)
def test_all_contradictions_are_told_at_once() -> None:
    merged: dict[str, Any] = {"batching": {}, "limits": {}, "server": {}, "runtime": {}}
    for tree, _ in CONTRADICTIONS:
        for section, values in tree.items():
            merged[section] |= values
    assert len(refusal(merged)) == 6  # the two of instances are one


def test_a_model_s_own_contradiction_names_the_model() -> None:
    own = {"batching": {"max_batch_rows": 9}}
    (line,) = refusal({"limits": {"max_queue_rows": 8}, "models": {"shapes": own}})
    assert line.startswith("shapes: batching.max_batch_rows = 9")


def test_what_is_said_of_all_models_is_not_said_of_each() -> None:
    models = {"shapes": {"default": True}, "words": {}}
    assert len(refusal({"batching": {"max_wait_ms": 9000}, "models": models})) == 1


@pytest.mark.parametrize(("asked", "planned"), [("auto", CORES), (1, 1), (8, 8)])
def test_as_many_workers_are_planned_as_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: str | int, planned: int
) -> None:
    monkeypatch.setattr(contradictions, "available_cores", lambda: CORES)
    tried: list[tuple[int, int]] = []
    monkeypatch.setattr(contradictions, "check_tasks", lambda *args: tried.append(args))
    assert planned_workers(Settings.model_validate({"server": {"workers": asked}})) == planned
    assert tried == [(planned, CORES)]


def test_a_model_is_looked_at_alone_when_it_is_loaded_anew() -> None:
    settings = Settings.model_validate({"batching": {"max_wait_ms": 9000}})
    with pytest.raises(SettingsError, match=r"^shapes: batching\.max_wait_ms = 9000"):
        check_model("shapes", settings.for_model("shapes"), settings.server, CORES)
