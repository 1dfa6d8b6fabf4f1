"""Prometheus has what the shipped rules and dashboard ask for, and counts as clients do."""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import pytest
import yaml

from docs.generate import REPOSITORY
from inferctl.keys import hash_of, new_key
from inferctl.tasks.images import EXAMPLE_PNG_B64
from tests.client.bundles import write_bundles
from tests.deploy.promtool import rules
from tests.e2e.prometheus import Prometheus
from tests.e2e.service import Service

pytestmark = pytest.mark.e2e

CLIENTS, TIMES = 8, 40
# What each model is asked; texts differ in length, so that those of a batch are padded.
GOOD = {
    "shapes": [{"image_b64": EXAMPLE_PNG_B64}],
    "animals": [{"image_b64": EXAMPLE_PNG_B64}],
    "mood": [{"text": "good"}, {"text": "a good day a bad film"}],
    "sums": [{"inputs": [1.0, 2.0, 3.0, 4.0]}],
}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
BAD = {"mood": {"txt": "good"}, "shapes": {"image_b64": "AAAA"}}
# What there is no data of without a GPU.
OF_GPUS = "inferctl_gpu_"
VARIABLES = {"$__rate_interval": "1m", "$job": "inferctl", "$model": ".*"}
COMPARISON = re.compile(r" (==|!=|>=|<=|>|<) ")


class Loaded(NamedTuple):
    """A Prometheus whose last scrape was after the last answer, and what the clients saw."""

    prometheus: Prometheus
    seen: Counter[tuple[str, str]]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """One service, asked by several clients while it is scraped with a key."""
    key = new_key()
    folder = tmp_path_factory.mktemp("service")
    models = write_bundles(folder / "models")
    keys = f"server.api_keys.prometheus.hash={hash_of(key.encode())}"
    with ExitStack() as started:
        service = Service([str(models), "--port", "0", "--workers", "2", "--set", keys], folder)
        started.callback(service.stop)
        service.wait_until_ready()
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), service.url, key)
        started.callback(prometheus.stop)
        prometheus.wait_until_ready()
        prometheus.wait_for_scrape()
        seen = ask(service, key)
        prometheus.wait_for_scrape()
        shares = "job_model:inference_errors:ratio_rate3d >= 0"
        prometheus.wait_until(
            lambda: {model for (model,) in prometheus.values(shares, "model")} == GOOD.keys(),
            lambda: prometheus.query(shares),
        )
        yield Loaded(prometheus, seen)
    assert service.process.returncode == 0


def ask(service: Service, key: str) -> Counter[tuple[str, str]]:
    """Good requests and bad ones; what came of them, by model and outcome."""
    headers = {
        "Content-Type": "application/json",
        "Authorization": f"Bearer {key}",
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
    }

    def outcome(asked: tuple[str, object]) -> tuple[str, str]:
        model, body = asked
        answer = service.request(f"/models/{model}/predict", json.dumps(body).encode(), headers)
        return model, "ok" if answer.status == 200 else answer.json["code"]

    good = [(model, body) for model, bodies in GOOD.items() for body in bodies] * TIMES
    with ThreadPoolExecutor(CLIENTS) as pool:
        return Counter(pool.map(outcome, [*good, *BAD.items()]))


def panels() -> Iterator[tuple[str, str]]:
    """Every expression of the dashboard, with its panel."""
    board = json.loads((REPOSITORY / "deploy" / "grafana" / "inferctl.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def has_data(prometheus: Prometheus, expression: str) -> bool:
    """Whether it has a value, one that is a number."""
    return any(not math.isnan(float(one["value"][1])) for one in prometheus.query(expression))


def test_every_panel_has_data(loaded: Loaded) -> None:
    empty = [each for each in panels() if not has_data(loaded.prometheus, each[1])]

    assert {title for title, expression in empty if OF_GPUS not in expression} == set()
    assert {title for title, expression in panels() if OF_GPUS in expression} == {
        "Memory of the GPU",
        "Utilisation of the GPU",
        "Power and temperature of the GPU",
    }


def test_every_alert_has_something_to_compare(loaded: Loaded) -> None:
    """`bool` has a comparison answer 0 or 1 where it would leave nothing."""
    found = {
        rule["alert"]: has_data(loaded.prometheus, COMPARISON.sub(r" \1 bool ", rule["expr"]))
        for rule in rules("alerts.yml")
    }

    assert [alert for alert, has in found.items() if not has] == []


def test_every_recorded_share_is_recorded(loaded: Loaded) -> None:
    for rule in rules("recording.yml"):
        recorded = loaded.prometheus.values(rule["record"], "model")
        assert recorded == {(model,): 0.0 for model in GOOD}


def test_a_latency_leads_to_a_trace(loaded: Loaded) -> None:
    found = loaded.prometheus.get(
        f"query_exemplars?query=inference_latency_seconds_bucket&start=0&end={time.time() + 60:.0f}"
    )

    assert {series["seriesLabels"]["model"] for series in found} == GOOD.keys()
    traces = {one["labels"]["trace_id"] for series in found for one in series["exemplars"]}
    assert traces == {TRACE}


def test_an_autoscaler_gets_one_number(loaded: Loaded) -> None:
    """KEDA's query, and the one that prometheus-adapter makes for the HPA."""
    folder = REPOSITORY / "deploy" / "kubernetes"
    (trigger,) = yaml.safe_load((folder / "keda.yaml").read_text())["spec"]["triggers"]
    (rule,) = yaml.safe_load((folder / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    adapted = rule["metricsQuery"]
    for part, value in {
        "Series": "inferctl_queue_rows", "LabelMatchers": 'job="inferctl"', "GroupBy": "instance",
    }.items():  # fmt: skip
        adapted = adapted.replace(f"<<.{part}>>", value)

    assert len(loaded.prometheus.query(trigger["metadata"]["query"])) == 1
    assert len(loaded.prometheus.query(adapted)) == 1


def test_no_rule_fails_and_a_service_that_is_well_alerts_nobody(loaded: Loaded) -> None:
    found = [rule for group in loaded.prometheus.get("rules")["groups"] for rule in group["rules"]]

    assert {(rule["health"], rule.get("lastError", "")) for rule in found} == {("ok", "")}
    assert [rule["name"] for rule in found if rule.get("state") == "firing"] == []


@pytest.mark.parametrize(
    ("counter", "label"),
    [
        ("inference_requests_total", "outcome"),
        ('inferctl_requests_total{route="predict"}', "outcome"),
    ],
)
def test_requests_are_counted_as_clients_count_them(
    loaded: Loaded, counter: str, label: str
) -> None:
    counted = loaded.prometheus.values(f"sum by (model, {label}) ({counter}) > 0", "model", label)

    assert counted == loaded.seen
    assert {model: loaded.seen[model, "ok"] for model in GOOD} == {
        model: len(bodies) * TIMES for model, bodies in GOOD.items()
    }


@pytest.mark.parametrize("rows", ["inferctl_rows_total", "inference_batch_size_sum"])
def test_rows_are_counted_as_clients_count_them(loaded: Loaded, rows: str) -> None:
    counted = loaded.prometheus.values(f"sum by (model) ({rows})", "model")

    assert counted == {(m,): count for (m, what), count in loaded.seen.items() if what == "ok"}
