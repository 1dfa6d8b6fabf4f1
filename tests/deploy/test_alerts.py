"""Each alert is raised by what it is for, says so with the numbers, and by nothing less.

The series are promtool's: `0+1x60` begins at 0 and grows by 1 a minute, 60 times.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.deploy.promtool import RULES, SHIPPED, groups, promtool, rules

JOB = 'job="inferctl"'
INSTANCE = f'{JOB}, instance="a:8000"'
MODEL = f'{INSTANCE}, model="shapes"'
SHAPES = f'{MODEL}, version="1"'
BY_MODEL = {"job": "inferctl", "model": "shapes"}
BY_INSTANCE = {"job": "inferctl", "instance": "a:8000"}
BY_BOTH = BY_MODEL | BY_INSTANCE

Series = dict[str, str]


class Case(NamedTuple):
    """What raises an alert and what does not; the labels that it has, besides its severity."""

    raised: Series
    quiet: Series
    labels: dict[str, str]
    summary: str
    at: str = "30m"
    interval: str = "1m"


def requests(**outcomes: str) -> Series:
    """Predict requests, by outcome."""
    return {
        f'inference_requests_total{{{SHAPES}, outcome="{outcome}"}}': values
        for outcome, values in outcomes.items()
    }


def histogram(name: str, labels: str, **buckets: str) -> Series:
    """A histogram's buckets: `le_2_5` is le="2.5", and `le_` the last one's +Inf."""
    bounds = {each: each[3:].replace("_", ".") or "+Inf" for each in buckets}
    return {
        f'{name}_bucket{{{labels}, le="{bounds[each]}"}}': values
        for each, values in buckets.items()
    }


def of(name: str, labels: str, values: str) -> Series:
    return {f"{name}{{{labels}}}": values}


CASES = {
    "InferctlGone": Case(
        of("up", INSTANCE, "0x60"),
        of("up", INSTANCE, "1x60") | of("up", f'{JOB}, instance="b:8000"', "0x60"),
        {},
        "No instance of inferctl answers Prometheus, 0 of those that it knows",
    ),
    "InferctlDown": Case(
        of("up", INSTANCE, "1x10 0x60"),
        of("up", INSTANCE, "1x60"),
        BY_INSTANCE,
        "a:8000 has not answered a scrape for a minute",
    ),
    "InferctlEngineNotReady": Case(
        of("inferctl_engine_ready", INSTANCE, "0x60") | of("inferctl_draining", INSTANCE, "0x60"),
        of("inferctl_engine_ready", INSTANCE, "0x60") | of("inferctl_draining", INSTANCE, "1x60"),
        BY_INSTANCE,
        "a:8000 has had no ready engine for a minute",
    ),
    "InferctlEngineRestarts": Case(
        of("inferctl_restarts_total", f'{INSTANCE}, role="engine"', "0x20 1 2 3 4 5x30"),
        of("inferctl_restarts_total", f'{INSTANCE}, role="engine"', "0x20 1x40"),
        BY_INSTANCE | {"role": "engine"},
        "The engine of a:8000 died 5 times in 10 minutes",
        at="29m",
    ),
    "InferctlWorkerRestarts": Case(
        of("inferctl_restarts_total", f'{INSTANCE}, role="worker"', "0x20 2x40"),
        of("inferctl_restarts_total", f'{INSTANCE}, role="engine"', "0x20 2x40"),
        BY_INSTANCE | {"role": "worker"},
        "Workers of a:8000 that died in 15 minutes, with what they were answering: 2",
    ),
    "InferctlRunTimeouts": Case(
        of("inferctl_engine_timeouts_total", INSTANCE, "0x25 1x40"),
        of("inferctl_engine_timeouts_total", INSTANCE, "7x60"),
        BY_INSTANCE,
        "Runs of a:8000 that took longer than runtime.max_run_ms in 10 minutes: 1",
    ),
    "InferctlReloadFailed": Case(
        of("inferctl_reloads_total", f'{INSTANCE}, outcome="failed"', "0x25 1x90"),
        of("inferctl_reloads_total", f'{INSTANCE}, outcome="ok"', "0x25 1x90"),
        BY_INSTANCE | {"outcome": "failed"},
        "Versions that could not be loaded into a:8000 in an hour: 1",
        at="1h",
    ),
    "InferctlFellBackToCpu": Case(
        of("inferctl_model_on_cuda", SHAPES, "1x10 0x60")
        | of("inferctl_model_fell_back", SHAPES, "0x10 1x60"),
        # Unloaded from its GPU; and on a CPU where there never was one.
        of("inferctl_model_on_cuda", SHAPES, "1x10 _x60")
        | of("inferctl_model_fell_back", SHAPES, "0x10 _x60")
        | of("inferctl_model_on_cuda", SHAPES.replace(JOB, 'job="others"'), "0x60")
        | of("inferctl_model_fell_back", SHAPES.replace(JOB, 'job="others"'), "1x60"),
        BY_BOTH | {"version": "1"},
        "shapes runs on the CPU of a:8000 and may have a GPU; its job had one within the last day",
    ),
    "InferctlErrorsFast": Case(
        requests(ok="0+80x120", internal_error="0+20x120"),
        # The client's own faults, and what is refused on purpose, are none.
        requests(ok="0+80x120", unprocessable="0+20x120", overloaded="0+20x120"),
        BY_MODEL,
        "20% of the requests to shapes failed in an hour, 14.4 times what 99.9 % allow",
        at="2h",
    ),
    "InferctlErrorsSlow": Case(
        requests(ok="0+9900x72", deadline_exceeded="0+100x72"),
        requests(ok="0+9990x72", deadline_exceeded="0+10x72"),
        BY_MODEL,
        "1% of the requests to shapes failed in six hours, 6 times what 99.9 % allow",
        at="12h",
        interval="10m",
    ),
    "InferctlErrorsSteady": Case(
        requests(ok="0+9980x100", unavailable="0+20x100"),
        requests(ok="0+9999x100", unavailable="0+1x100"),
        BY_MODEL,
        "0.2% of the requests to shapes failed in three days, more than 99.9 % allow",
        at="4d",
        interval="1h",
    ),
    "InferctlLatencyHigh": Case(
        histogram("inference_latency_seconds", SHAPES, le_2_5="0x60", le_5="0+9x60", le_="0+9x60"),
        histogram("inference_latency_seconds", SHAPES, le_2_5="0+9x60", le_5="0+9x60"),
        BY_MODEL,
        "p99 of shapes is 4.975s, more than half of the deadline of 5 s",
    ),
    "InferctlDeadlinesMissed": Case(
        requests(ok="0+90x60", deadline_exceeded="0+10x60"),
        requests(ok="0+999x60", deadline_exceeded="0+1x60"),
        BY_MODEL,
        "10% of the requests to shapes missed their deadline",
    ),
    "InferctlShedding": Case(
        requests(ok="0+75x60", overloaded="0+25x60")
        | of("inferctl_shed_total", f'{SHAPES}, reason="queue"', "0+25x60"),
        requests(ok="0+75x60", overloaded="0+25x60")
        | of("inferctl_shed_total", f'{SHAPES}, reason="quota"', "0+25x60"),
        BY_MODEL,
        "25% of the requests to shapes were refused with 429",
    ),
    "InferctlQueueNearLimit": Case(
        of("inferctl_in_flight", SHAPES, "90x60") | of("inferctl_slots", SHAPES, "100x60"),
        of("inferctl_in_flight", SHAPES, "90x60") | of("inferctl_slots", SHAPES, "200x60"),
        BY_BOTH,
        "a:8000 holds 90% of the rows of shapes that it can",
    ),
    "InferctlQueueSlow": Case(
        of("inferctl_queue_rows", SHAPES, "300x60") | of("inferctl_row_seconds", SHAPES, "0.01x60"),
        of("inferctl_queue_rows", SHAPES, "300x60")
        | of("inferctl_row_seconds", SHAPES, "0.002x60"),
        BY_BOTH,
        "The queue of shapes on a:8000 takes 3s to drain, of a deadline of 5 s",
    ),
    "InferctlConnectionsNearCap": Case(
        of("inferctl_connections", INSTANCE, "1000x60"),
        of("inferctl_connections", INSTANCE, "900x60"),
        BY_INSTANCE,
        "a:8000 has 1000 connections open, and takes 1024",
    ),
    "InferctlConnectionsRefused": Case(
        of("inferctl_connections_closed_total", f'{INSTANCE}, reason="evicted"', "0+2x60"),
        of("inferctl_connections_closed_total", f'{INSTANCE}, reason="client"', "0+2x60"),
        BY_INSTANCE,
        "a:8000 closed 10 connections in 5 minutes, to have room for others",
    ),
    "InferctlMemoryNearLimit": Case(
        of("inferctl_shed_total", f'{SHAPES}, reason="memory"', "0+4x60"),
        of("inferctl_shed_total", f'{SHAPES}, reason="queue"', "0+4x60"),
        BY_INSTANCE,
        "a:8000 refused 20 requests in 5 minutes for want of memory",
    ),
    "InferctlMemoryGrowing": Case(
        # 8 MiB in ten minutes; and a start with 300 MiB that stay.
        of("inferctl_process_resident_memory_bytes", f'{INSTANCE}, role="worker"', "0+8388608x72"),
        of(
            "inferctl_process_resident_memory_bytes", f'{INSTANCE}, role="worker"', "0 314572800x72"
        ),
        BY_INSTANCE,
        "The processes of a:8000 grow by 48MiB an hour",
        at="4h",
        interval="10m",
    ),
    "InferctlLoopLag": Case(
        histogram(
            "inferctl_loop_lag_seconds", INSTANCE, le_0_5="0x60", le_1="0+9x60", le_="0+9x60"
        ),
        histogram("inferctl_loop_lag_seconds", INSTANCE, le_0_005="0+9x60", le_1="0+9x60"),
        BY_INSTANCE,
        "The event loops of a:8000 are 995ms late (p99)",
    ),
    "InferctlLoopStalls": Case(
        of("inferctl_loop_stalls_total", INSTANCE, "0x25 1x40"),
        of("inferctl_loop_stalls_total", INSTANCE, "1x60"),
        BY_INSTANCE,
        "Times that an event loop of a:8000 was blocked for 2 s in 10 minutes: 1",
    ),
    "InferctlLogLinesLost": Case(
        of("inferctl_log_dropped_total", INSTANCE, "0+5x60"),
        of("inferctl_log_dropped_total", INSTANCE, "5x60"),
        BY_INSTANCE,
        "a:8000 lost 50 lines of its request log in 10 minutes",
    ),
    "InferctlPoisonedRows": Case(
        of("inferctl_poisoned_rows_total", SHAPES, "0+3x60"),
        # A few; and those of a version that is gone, which are added up with others.
        of("inferctl_poisoned_rows_total", SHAPES, "0x25 9x40")
        | of("inferctl_poisoned_rows_total", f'{MODEL}, version="earlier"', "50x25 900x40"),
        BY_MODEL,
        "30 rows failed shapes by themselves in 10 minutes",
    ),
    "InferctlPaddingWaste": Case(
        of("inferctl_padding_tokens_total", SHAPES, "0+60x60")
        | of("inferctl_tokens_total", SHAPES, "0+40x60"),
        of("inferctl_padding_tokens_total", SHAPES, "0+40x60")
        | of("inferctl_tokens_total", SHAPES, "0+60x60"),
        BY_MODEL,
        "60% of the tokens that shapes runs are padding",
        at="1h",
    ),
}


def test_every_alert_has_its_case() -> None:
    assert CASES.keys() == {rule["alert"] for rule in rules("alerts.yml")}


@pytest.mark.parametrize("alert", CASES)
def test_an_alert_is_raised_by_what_it_is_for_alone(alert: str, tmp_path: Path) -> None:
    case = CASES[alert]
    (rule,) = (one for one in rules("alerts.yml") if one["alert"] == alert)
    raised = {
        "exp_labels": case.labels | rule["labels"],
        "exp_annotations": rule["annotations"] | {"summary": case.summary},
    }
    file = tmp_path / "test.yml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(SHIPPED / name) for name in RULES],
                "evaluation_interval": case.interval,
                # Else alerts may see the shares of the last time, which may be hours ago.
                "group_eval_order": [group for name in RULES for group in groups(name)],
                "tests": [
                    staged(alert, case, case.raised, [raised]),
                    staged(alert, case, case.quiet),
                ],
            }
        )
    )

    promtool("test", "rules", file)


def staged(
    alert: str, case: Case, series: Series, expected: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """A test of promtool: these series, and the alerts of this name that they raise."""
    return {
        "interval": case.interval,
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"alertname": alert, "eval_time": case.at, "exp_alerts": expected or []}
        ],
    }
