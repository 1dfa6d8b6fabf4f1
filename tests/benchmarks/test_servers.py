"""How servers are configured, and what a peer may import."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

import benchmarks.peers
from benchmarks.compare import available, numbers, rotated
from benchmarks.policies import TEXT_POLICIES
from benchmarks.servers import SETUPS, Setup, setups_of, toml_text
from benchmarks.workloads import PARTS, WORKLOADS
from inferctl.errors import UsageError
from inferctl.settings import Settings

PEERS = sorted(Path(benchmarks.peers.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("setup", [*SETUPS["text"][:1], *TEXT_POLICIES], ids=lambda s: s.config)
def test_every_toml_is_valid_settings(setup: Setup) -> None:
    settings = Settings(**tomllib.loads(toml_text(Path("models/text/1"), 8123, setup.toml)))

    assert settings.server.port == 8123
    assert settings.server.request_timeout_ms == 60_000
    for section, values in setup.toml.items():
        assert getattr(settings, section).model_dump(include=set(values)) == values


def test_inferctl_is_measured_as_it_comes() -> None:
    assert set(SETUPS) == set(PARTS)
    for setups in SETUPS.values():
        assert [setup.toml for setup in setups if setup.server == "inferctl"] == [{}]


def test_a_configuration_has_one_name() -> None:
    for setups in SETUPS.values():
        names = [(setup.server, setup.config) for setup in setups]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", PEERS, ids=lambda path: path.stem)
def test_a_peer_imports_nothing_of_inferctl(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] != "inferctl"
            assert not name.startswith("benchmarks") or name == "benchmarks.peers.work"


def test_another_server_is_first_in_each_round() -> None:
    setups = SETUPS["vision"]

    assert [rotated(setups, round_)[0] for round_ in range(len(setups))] == list(setups)
    assert set(map(id, rotated(setups, 3))) == set(map(id, setups))


def test_a_peer_without_a_venv_is_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = available(SETUPS["vision"], tmp_path)

    assert {setup.server for setup in found} == {"inferctl"}
    said = capsys.readouterr().err
    assert all(name in said for name in ("litserve", "mosec", "tutorial", "benchmarks.install"))


def test_nothing_left_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no server is left"):
        available(setups_of(WORKLOADS["mlp"], ["mosec"]), tmp_path)


def test_an_unknown_server_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="known are inferctl, tutorial, litserve, mosec"):
        setups_of(WORKLOADS["mlp"], ["triton"])


@pytest.mark.parametrize("text", ["", "1,x", "0,8"])
def test_clients_are_numbers_from_1_up(text: str) -> None:
    with pytest.raises(UsageError, match="not numbers of clients"):
        numbers(text)
