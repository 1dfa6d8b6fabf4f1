"""API keys: long, unlike each other, and known by their hash alone."""

from __future__ import annotations

from inferctl.keys import PREFIX, KeySettings, hash_of, new_key


def test_a_key_has_256_random_bits_and_says_what_it_is() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert key.startswith(PREFIX)
        assert len(key.removeprefix(PREFIX)) == 43


def test_settings_take_its_hash() -> None:
    key = new_key()
    assert KeySettings.model_validate({"hash": hash_of(key.encode())}).scopes == ("predict",)
