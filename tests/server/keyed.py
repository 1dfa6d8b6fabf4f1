"""API keys for tests: the keys themselves, and settings that have their hashes."""

from __future__ import annotations

from typing import Any

from inferctl.keys import KeySettings, hash_of
from inferctl.settings import ServerSettings

PREDICT_KEY = "inferctl_the-one-that-predicts"
ADMIN_KEY = "inferctl_the-one-that-administers"


def key_settings(key: str, *scopes: str, **quotas: Any) -> KeySettings:
    content = {"hash": hash_of(key.encode()), "scopes": scopes or ("predict",), **quotas}
    return KeySettings.model_validate(content)


def keyed(**others: Any) -> ServerSettings:
    """A server with a key of either scope."""
    keys = {"app": key_settings(PREDICT_KEY), "ops": key_settings(ADMIN_KEY, "admin")}
    return ServerSettings(api_keys=keys, **others)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}
