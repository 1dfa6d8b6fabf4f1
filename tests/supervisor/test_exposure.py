"""Nobody is let in whom the settings do not name, not after a reload either."""

from __future__ import annotations

from typing import Any

import pytest

from inferctl.errors import SettingsError
from inferctl.keys import KeySettings
from inferctl.observation import LogsSettings
from inferctl.settings import ServerSettings, Settings
from inferctl.supervisor.exposure import exposed, warn, what_may_change

HASH = "sha256:" + "ab" * 32
KEY = {"app": KeySettings.model_validate({"hash": HASH})}
ADMIN = {"ops": KeySettings.model_validate({"hash": HASH, "scopes": "admin"})}
PUBLIC = ("0.0.0.0", "::", "192.0.2.1", "example.org", "::ffff:192.0.2.1")
LOOPBACK = ("127.0.0.1", "127.0.0.2", "::1", "localhost")


def refusal(**server: Any) -> str:
    (line,) = exposed(ServerSettings(**server))
    return line


@pytest.mark.parametrize("host", PUBLIC)
@pytest.mark.row(119)
def test_beyond_loopback_there_must_be_a_key_or_a_word(host: str) -> None:
    assert "--insecure" in refusal(host=host)
    assert not [*exposed(ServerSettings(host=host, api_keys=KEY))]
    assert not [*exposed(ServerSettings(host=host, insecure=True))]


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback_there_need_not(host: str) -> None:
    assert not [*exposed(ServerSettings(host=host))]
    assert not [*exposed(ServerSettings(host=host, admin=True))]


@pytest.mark.parametrize(
    "server", [{"host": "0.0.0.0", "insecure": True}, {"host": "0.0.0.0", "api_keys": KEY},
               {"api_keys": KEY}],
)  # fmt: skip
@pytest.mark.row(167)
def test_admin_needs_a_key_of_its_own(server: dict[str, Any]) -> None:
    assert "--scope admin" in refusal(admin=True, **server)
    assert not [*exposed(ServerSettings(admin=True, **server | {"api_keys": ADMIN}))]


@pytest.mark.parametrize("half", ["tls_cert", "tls_key"])
def test_half_of_a_certificate_is_none(half: str) -> None:
    assert f"server.{half} is set" in refusal(**{half: "file.pem"})


def test_what_was_asked_for_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for server, word in (
        (ServerSettings(), ""),
        (ServerSettings(host="::", insecure=True), "inferctl key NAME"),
        (ServerSettings(host="::", api_keys=KEY), "TLS"),
        (ServerSettings(host="::", api_keys=KEY, tls_cert="a", tls_key="b"), ""),
    ):
        warn(server)
        said = capsys.readouterr().out
        assert word in said
        assert bool(word) == bool(said)


def test_a_running_service_takes_over_keys_and_models_alone() -> None:
    started = Settings(server=ServerSettings(port=1, api_keys=KEY))
    wanted = Settings(
        models_dir="others",
        server=ServerSettings(port=2, api_keys=ADMIN),
        logs=LogsSettings(path="-"),
    )
    taken = what_may_change(started, wanted)
    assert taken.models_dir == "others"
    assert (taken.server.port, taken.server.api_keys) == (1, ADMIN)
    assert taken.logs == started.logs


@pytest.mark.row(119)
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize("asked", [{}, {"insecure": True}, {"admin": False}])
def test_a_reload_opens_nothing(host: str, asked: dict[str, Any]) -> None:
    started = Settings(server=ServerSettings(host=host, api_keys=KEY | ADMIN, admin=True))
    with pytest.raises(SettingsError, match="names none any more"):
        what_may_change(started, Settings(server=ServerSettings(**asked)))


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_reload_leaves_a_key_for_whoever_administers(host: str) -> None:
    started = Settings(server=ServerSettings(host=host, api_keys=KEY | ADMIN, admin=True))
    with pytest.raises(SettingsError, match="--scope admin"):
        what_may_change(started, Settings(server=ServerSettings(api_keys=KEY)))
    taken = what_may_change(started, Settings(server=ServerSettings(api_keys=ADMIN)))
    assert taken.server.api_keys == ADMIN
