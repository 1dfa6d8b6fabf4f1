"""A certificate that cannot be used is said in one line, before anything starts."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from inferctl.errors import StartError
from inferctl.settings import ServerSettings
from inferctl.tls import tls_context
from tests.certificate import OF_ANOTHER, write_certificate


def context(cert: Path, key: Path) -> ssl.SSLContext | None:
    return tls_context(ServerSettings(tls_cert=str(cert), tls_key=str(key)))


def refusal(cert: Path, key: Path) -> str:
    with pytest.raises(StartError) as caught:
        context(cert, key)
    assert str(cert) in caught.value.where
    assert "\n" not in str(caught.value)
    return caught.value.what


def test_old_versions_of_tls_are_not_spoken(tmp_path: Path) -> None:
    made = context(*write_certificate(tmp_path))
    assert made is not None
    assert made.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_without_a_certificate_there_is_no_tls() -> None:
    assert tls_context(ServerSettings()) is None


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    assert "no such file" in refusal(tmp_path / "absent", key)
    for wrong in ((cert, cert), (key, key), (Path(__file__), key)):
        assert "not pem" in refusal(*wrong)


def test_a_key_of_another_certificate_does_not_match(tmp_path: Path) -> None:
    assert "mismatch" in refusal(*write_certificate(tmp_path, OF_ANOTHER))
