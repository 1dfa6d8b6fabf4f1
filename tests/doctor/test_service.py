"""The settings: what `inferctl serve` would refuse is found, each with its own advice."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from inferctl.doctor import service
from inferctl.doctor.findings import Finding
from inferctl.doctor.service import agreement_findings, limit_findings, load
from inferctl.keys import hash_of
from inferctl.settings import Settings
from tests.certificate import write_certificate

KEY = {"ci": hash_of(b"key")}


@pytest.fixture(autouse=True)
def empty_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder, and none of the variables of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("INFERCTL_")]:
        monkeypatch.delenv(name)


def agreement(**server: Any) -> dict[str, Finding]:
    own = Settings.model_validate({"server": server})
    return {one.name: one for one in agreement_findings(own)}


def test_settings_that_load_name_their_sources() -> None:
    Path("serve.toml").write_text("[server]\nport = 9\n")
    loaded, (found,) = load({"server": {"host": "::1"}}, Path("serve.toml"))
    assert loaded.settings.server.port == 9
    assert found.finding == "2 set by flag, serve.toml, the others have their defaults"


def test_a_broken_file_is_named_and_the_rest_goes_on_with_the_defaults() -> None:
    Path("serve.toml").write_text("[server\n")
    loaded, (broken, rest) = load({"models_dir": "mine"}, Path("serve.toml"))
    assert broken.status == "fail"
    assert "is not TOML" in broken.finding
    assert "(serve.toml)" in broken.finding
    assert rest.status == "warn"
    assert loaded.settings == Settings(models_dir="mine")
    assert loaded.origins == {"models_dir": "flag"}


@pytest.mark.parametrize("name", ["", "a\nb"])
def test_a_folder_whose_name_does_not_fit_is_a_finding(name: str) -> None:
    loaded, (broken, _) = load({"models_dir": name}, None)
    assert broken.finding.startswith("models_dir: ")
    assert loaded.settings == Settings()


def test_each_setting_that_does_not_fit_is_a_finding() -> None:
    _, found = load({"server": {"prot": 1, "workers": 0}}, None)
    assert [one.status for one in found] == ["fail", "fail", "warn"]
    assert any("did you mean server.port?" in one.finding for one in found)


def test_settings_that_agree_are_ok() -> None:
    assert {one.status for one in agreement().values()} == {"ok"}


@pytest.mark.parametrize(
    ("server", "finding", "fix"),
    [
        ({"host": "0.0.0.0"}, "would let others in without a key", "inferctl key NAME"),
        ({"admin": True, "api_keys": KEY}, "needs a key of scope admin", "--scope admin"),
        ({"workers": 256}, "server.workers = 256", "auto"),
        ({"tls_cert": "a.pem"}, "server.tls_key is not", "set both or none"),
    ],
)
def test_a_contradiction_fails_with_its_own_advice(
    monkeypatch: pytest.MonkeyPatch, server: dict[str, Any], finding: str, fix: str
) -> None:
    monkeypatch.setattr(service, "available_cores", lambda: 2)
    found = [one for one in agreement(**server).values() if one.name == "agreement"]
    assert [one.status for one in found] == ["fail"]
    assert finding in found[0].finding
    assert fix in found[0].fix


@pytest.mark.parametrize(
    ("server", "warning", "fix"),
    [
        ({"host": "0.0.0.0", "insecure": True}, "whoever reaches", "inferctl key"),
        ({"host": "0.0.0.0", "api_keys": KEY}, "on their way", "tls_cert"),
    ],
)
def test_what_is_open_is_told(server: dict[str, Any], warning: str, fix: str) -> None:
    exposure = agreement(**server)["exposure"]
    assert exposure.status == "warn"
    assert warning in exposure.finding
    assert fix in exposure.fix


def test_a_certificate_that_cannot_be_used_fails(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    assert agreement(tls_cert=str(cert), tls_key=str(key))["certificate"].status == "ok"
    key.write_text("no key")
    found = agreement(tls_cert=str(cert), tls_key=str(key))["certificate"]
    assert found.status == "fail"
    assert str(key) in found.finding
    assert found.fix


def test_more_workers_than_cores_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "available_cores", lambda: 2)
    limits, workers = limit_findings(Settings.model_validate({"server": {"workers": 4}}))
    assert limits.status == "ok"
    assert (workers.status, workers.fix) == ("warn", 'server.workers = "auto"')


def test_a_limit_that_would_end_a_start_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    limits, _ = limit_findings(Settings())
    assert limits.status == "fail"
    assert "64 files" in limits.finding
    assert limits.fix.startswith("ulimit -n")
