"""Each door that is open is told of, with what closes it."""

from __future__ import annotations

import pytest

from inferctl.cautions import of_openness
from inferctl.settings import ServerSettings

PUBLIC = {"host": "0.0.0.0"}
TLS = PUBLIC | {"tls_cert": "a", "tls_key": "b"}


@pytest.mark.parametrize(
    ("settings", "is_keyed", "said"),
    [
        ({}, False, []),
        (TLS, True, []),
        (PUBLIC, False, ["inferctl key NAME"]),
        (TLS, False, ["inferctl key NAME"]),
        (PUBLIC, True, ["server.tls_cert"]),
        ({"admin": True}, False, ["server.admin = false"]),
        (TLS | {"docs": True}, True, ["server.docs = false"]),
        (TLS | {"ui": True}, True, ["server.ui = false"]),
        (PUBLIC | {"ui": True}, False, ["inferctl key NAME", "server.ui = false"]),
        ({"docs": True, "ui": True}, False, []),
    ],
)
def test_an_open_door_is_told(settings: dict[str, object], is_keyed: bool, said: list[str]) -> None:
    server = ServerSettings.model_validate(settings)
    found = list(of_openness(server, is_keyed=is_keyed))
    assert len(found) == len(said)
    assert all(word in caution.fix for word, caution in zip(said, found, strict=True))
    assert all(str(caution) == f"{caution.finding}: {caution.fix}" for caution in found)
