"""The compose file is what Compose takes, and opens nothing to the world by itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from docs.generate import REPOSITORY
from inferctl.keys import hash_of, new_key
from inferctl.sources import load_settings

FILE = REPOSITORY / "deploy" / "compose.yaml"
VARIABLE = re.compile(r"\$\{(\w+):(\?|-)([^}]*)\}")
KEY = hash_of(new_key().encode())
GIVEN = {
    "INFERCTL_CLIENTS_HASH": KEY,
    "INFERCTL_PROMETHEUS_HASH": KEY,
    "GRAFANA_PASSWORD": "secret",
}


def interpolated(environment: dict[str, str]) -> str:
    """As Compose reads it; raises KeyError for a variable that must be given and is not."""

    def value(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        return environment[name] if kind == "?" else environment.get(name, text)

    return VARIABLE.sub(value, FILE.read_text())


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(interpolated(GIVEN))["services"]
    return found


def test_compose_takes_it() -> None:
    assert PyCompose.from_yaml(interpolated(GIVEN)).service_names() == list(services())


def test_compose_refuses_what_is_misspelt() -> None:
    with pytest.raises(ValueError, match="restrat"):
        PyCompose.from_yaml(interpolated(GIVEN).replace("restart:", "restrat:"))


@pytest.mark.parametrize("missing", GIVEN)
def test_nothing_starts_without_what_must_be_given(missing: str) -> None:
    with pytest.raises(KeyError):
        interpolated({name: value for name, value in GIVEN.items() if name != missing})


def test_what_is_named_is_there() -> None:
    whole = yaml.safe_load(interpolated(GIVEN))
    for service in whole["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (
                source in whole["volumes"]
                or source == "../models"
                or (FILE.parent / source).exists()
            ), source
        assert set(service.get("depends_on", ())) <= whole["services"].keys()
        assert set(service.get("secrets", ())) <= whole["secrets"].keys()
    build = whole["services"]["inferctl"]["build"]
    assert (FILE.parent / build["context"] / build["dockerfile"]).exists()


def test_images_of_others_are_of_one_version() -> None:
    for name, service in services().items():
        assert name == "inferctl" or re.search(r":v?\d+\.\d+\.\d+$", service["image"])


def test_only_this_machine_reaches_it_unless_it_is_said() -> None:
    for service in services().values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    opened = yaml.safe_load(interpolated(GIVEN | {"INFERCTL_BIND": "0.0.0.0"}))["services"]
    assert opened["inferctl"]["ports"] == ["0.0.0.0:8000:8000"]


def test_no_service_has_more_rights_than_it_needs() -> None:
    for service in services().values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")
    assert services()["inferctl"]["read_only"]


def test_its_environment_is_settings_with_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = services()["inferctl"]
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, value)
    server = load_settings(dotenv=tmp_path / ".env").settings.server

    assert server.api_keys.keys() == {"clients", "prometheus"}
    assert int(service["stop_grace_period"].removesuffix("s")) > server.drain_timeout_s


def test_prometheus_has_its_key_where_its_configuration_looks() -> None:
    config = yaml.safe_load((FILE.parent / "prometheus" / "prometheus.yml").read_text())
    (scrape,) = (one for one in config["scrape_configs"] if one["job_name"] == "inferctl")
    (secret,) = services()["prometheus"]["secrets"]

    assert scrape["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    assert "--enable-feature=exemplar-storage" in services()["prometheus"]["command"]
    assert scrape["static_configs"] == [{"targets": ["inferctl:8000"]}]


def test_grafana_finds_its_source_and_its_dashboard() -> None:
    folder = FILE.parent / "grafana" / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    (boards,) = yaml.safe_load((folder / "dashboards" / "inferctl.yaml").read_text())["providers"]
    mounted = [volume.split(":")[1] for volume in services()["grafana"]["volumes"]]

    assert source["url"] == "http://prometheus:9090"
    assert f"{boards['options']['path']}/inferctl.json" in mounted
