"""Candidates as processes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from urllib.request import urlopen

import pytest

from inferctl.errors import StartError
from inferctl.settings import Settings
from inferctl.tune.late import Late
from inferctl.tune.plan import Plan
from inferctl.tune.serving import Serving, served_settings
from inferctl.tune.space import Candidate, Variant, base_candidate


def candidate_of(plan: Plan, **changes: object) -> Candidate:
    return replace(base_candidate(plan.settings, plan.variants[0]), **changes)  # type: ignore[arg-type]


def test_a_candidate_is_served_for_this_machine_alone(plan: Plan) -> None:
    """Who may ask, and where, is left out; the rest of the settings is as it is."""
    settings = Settings.model_validate(
        {
            "server": {
                "host": "0.0.0.0", "port": 80, "max_body_bytes": 2048, "insecure": True,
                "tls_cert": "c", "tls_key": "k", "api_keys": {"me": {"hash": "sha256:" + "0" * 64}},
            },
            "models": {"net": {"limits": {"max_rows": 3}}},
            "limits": {"max_pixels": 9},
        }
    )  # fmt: skip
    tree = served_settings(settings, candidate_of(plan, batch=2, workers=1), 50.0)

    assert tree["server"].keys() == {
        "max_body_bytes", "workers", "port", "request_timeout_ms", "drain_timeout_s",
        "drain_delay_s",
    }  # fmt: skip
    assert tree["server"]["port"] == 0
    assert tree["limits"] == {"max_rows": 3, "max_pixels": 9}
    assert tree["batching"]["max_batch_rows"] == 2
    assert Settings.model_validate(tree).server.max_body_bytes == 2048


def test_a_candidate_logs_as_the_service_does_and_keeps_what_tensorrt_builds(plan: Plan) -> None:
    settings = Settings.model_validate(
        {"logs": {"path": "-", "sample_rate": 0}, "runtime": {"device": "cuda", "tensorrt": True}}
    )
    tree = served_settings(settings, candidate_of(plan), 50.0)

    assert tree["logs"] == {"path": "requests.log", "sample_rate": 0}
    assert tree["runtime"]["tensorrt_cache"] == str(Path("tensorrt").resolve())


@pytest.mark.parametrize(
    ("own_ms", "limit_ms", "served_ms"), [(5000, 50, 1000), (5000, 300, 3000), (700, 300, 700)]
)
def test_a_deadline_is_no_longer_than_matters(
    plan: Plan, own_ms: int, limit_ms: float, served_ms: int
) -> None:
    settings = Settings.model_validate({"server": {"request_timeout_ms": own_ms}})
    tree = served_settings(settings, candidate_of(plan), limit_ms)

    assert tree["server"]["request_timeout_ms"] == served_ms


@pytest.mark.e2e
def test_a_server_answers_while_it_is_entered_and_leaves_nothing(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment of this process says nothing to it."""
    monkeypatch.setenv("INFERCTL_SERVER__WORKERS", "nonsense")
    with Serving(served_settings(Settings(), candidate_of(plan, workers=1), 50.0)) as serving:
        with urlopen(f"{serving.url}/readyz") as answer:
            assert answer.status == 200
        folder = Path(f"/proc/{serving.pid}/cwd").readlink()
        assert folder.exists()

    assert not serving.is_running
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(serving.pid, 0)


def test_a_server_that_does_not_start_says_why(plan: Plan) -> None:
    lost = candidate_of(plan, variant=Variant("/nowhere", "net", 1, "fp32"))

    with (
        pytest.raises(StartError, match=r"does not start; it said: .*no such folder of models"),
        Serving(served_settings(Settings(), lost, 50.0)),
    ):
        pass


def test_a_server_that_is_not_ready_in_time_is_ended(plan: Plan) -> None:
    serving = Serving(served_settings(Settings(), candidate_of(plan), 50.0), limit_s=0.0)

    with pytest.raises(Late, match=r"is not ready after 0 s"), serving:
        pass
    assert not serving.is_running


@pytest.mark.e2e
def test_a_stop_that_is_interrupted_leaves_nothing(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second Ctrl-C comes while a server drains after the first one."""
    serving = Serving(served_settings(Settings(), candidate_of(plan, workers=1), 50.0))
    interrupted = []

    def wait(patience_s: float | None = None) -> int:
        if not interrupted:
            interrupted.append(patience_s)
            raise KeyboardInterrupt
        return really(patience_s)

    serving.__enter__()
    folder = Path(f"/proc/{serving.pid}/cwd").readlink()
    really = serving._process.wait
    monkeypatch.setattr(serving._process, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        serving.__exit__(None, None, None)

    assert not serving.is_running
    assert not folder.exists()
