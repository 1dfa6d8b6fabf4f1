"""The rules are what Prometheus takes, and speak of what the service has."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from deploy.grafana.expressions import OURS
from docs.generate import REPOSITORY
from inferctl.arena.metric import FAULTS, OUTCOMES
from inferctl.arena.metrics import METRICS
from inferctl.arena.places import EARLIER_LABEL
from inferctl.errors import InferctlError
from inferctl.refusals import RequestError
from inferctl.server.metrics import SCRAPED
from inferctl.settings import Settings
from tests.deploy.promtool import RULES, SHIPPED, promtool, rules

PARTS = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
NAMES = re.compile(r"\b(?:inferctl|inference)_\w+")
SEVERITIES = {"critical", "warning"}


def expressions() -> list[str]:
    board = json.loads((REPOSITORY / "deploy" / "grafana" / "inferctl.json").read_text())
    panels = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    return [rule["expr"] for name in RULES for rule in rules(name)] + panels


@pytest.mark.parametrize("name", RULES)
def test_promtool_takes_the_rules(name: str) -> None:
    promtool("check", "rules", SHIPPED / name)


def test_promtool_takes_the_configuration(tmp_path: Path) -> None:
    """With a key where it is; the compose file puts one there."""
    folder = shutil.copytree(SHIPPED, tmp_path / "prometheus")
    file, key = folder / "prometheus.yml", tmp_path / "key"
    key.write_text("inferctl_…")
    file.write_text(file.read_text().replace("/run/secrets/inferctl_key", str(key)))

    promtool("check", "config", file)


def test_rules_and_panels_ask_for_metrics_that_there_are() -> None:
    metrics = (*METRICS, *SCRAPED)
    known = {metric.name + part for metric in metrics for part in PARTS[metric.kind]}
    asked = {
        name
        for expression in expressions()
        for name in NAMES.findall(re.sub(r"job_model:\w+:\w+", "", expression))
    }

    assert asked - known == set()


def test_nothing_is_made_of_what_is_added_up_when_a_version_goes() -> None:
    """All that it ever counted comes at once then, under another version's name."""
    counted = "|".join(metric.name for metric in METRICS if metric.per_model)
    counters = re.compile(rf"(?:rate|increase)\((?:{counted})\w*(\{{[^}}]*\}})?\[")
    found = [labels for each in expressions() for labels in counters.findall(each)]

    assert len(found) > 50
    assert all(f'version!="{EARLIER_LABEL}"' in labels for labels in found)


def answers(kind: type[InferctlError]) -> dict[str, int]:
    """Codes of a class of errors and of what is below it, with their statuses."""
    below = {code: one for child in kind.__subclasses__() for code, one in answers(child).items()}
    return {kind.code: kind.status} | below


def test_what_is_ours_are_the_answers_of_5xx() -> None:
    """But for 501, which is of what is not there."""
    of_requests = answers(RequestError)
    failed = {code for code in OUTCOMES if of_requests.get(code, 500) >= 500}
    ours = failed - {"ok", "unsupported"}

    assert set(OURS.split("|")) == ours
    assert set(FAULTS) == ours | {"ok"}, "the first one is an increase"
    for rule in rules("recording.yml"):
        failed, all_of_them = re.findall(r'outcome=~"([^"]+)"', rule["expr"])
        assert set(failed.split("|")) == ours
        assert set(all_of_them.split("|")) == ours | {"ok"}


def test_every_alert_says_what_it_is_and_where_to_read_on() -> None:
    runbook = (REPOSITORY / "docs" / "runbook.md").read_text().splitlines()
    for rule in rules("alerts.yml"):
        anchor = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", rule["alert"]).lower()
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{anchor}"
        assert f"## {anchor}" in runbook
        assert rule["labels"]["severity"] in SEVERITIES
        assert set(rule["annotations"]) == {"summary", "runbook_url"}


@pytest.mark.parametrize(
    ("alert", "part"),
    [
        ("InferctlConnectionsNearCap", f"0.9 * {Settings().server.max_connections}"),
        ("InferctlLatencyHigh", f"> {Settings().server.request_timeout_ms / 2000:g}"),
        ("InferctlQueueSlow", f"> {Settings().server.request_timeout_ms / 2000:g}"),
    ],
)
def test_thresholds_follow_the_defaults_of_settings(alert: str, part: str) -> None:
    (rule,) = (one for one in rules("alerts.yml") if one["alert"] == alert)

    assert rule["expr"].endswith(part)


def test_files_of_rules_are_those_that_prometheus_reads() -> None:
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())

    assert set(config["rule_files"]) == set(RULES)
