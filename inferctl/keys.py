"""API keys: made once, shown once, and from then on known by their hash alone."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from inferctl.section import Section, parts

# What scanners for leaked secrets can look for.
PREFIX = "inferctl_"
KEY_BYTES = 32
HASH_PREFIX = "sha256:"
HASH_PATTERN = f"^{HASH_PREFIX}[0-9a-f]{{64}}$"
MAX_KEYS = 64

Scope = Literal["predict", "admin"]
# It goes into the log, and into names of variables.
KeyName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


def new_key() -> str:
    """A key of 256 random bits. So many cannot be guessed, so a plain hash of it is enough."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def hash_of(key: bytes) -> str:
    """The hash as settings have it."""
    return HASH_PREFIX + sha256(key).hexdigest()


def _hash(given: SecretStr) -> SecretStr:
    """Refuses a key in the place of its hash, without a word of it."""
    if not re.fullmatch(HASH_PATTERN, given.get_secret_value()):
        raise PydanticCustomError("hash", "should be sha256:…, as `inferctl key` prints it")
    return given


class KeySettings(Section):
    """An API key: what it opens, and how much of the service is its share."""

    hash: Annotated[
        SecretStr,
        AfterValidator(_hash),
        WithJsonSchema({"type": "string", "pattern": HASH_PATTERN}),
    ] = Field(description="sha256:… of the key, as `inferctl key` prints it")
    scopes: Annotated[
        tuple[Scope, ...], BeforeValidator(parts), Field(min_length=1, max_length=2)
    ] = Field(default=("predict",), description='"predict", "admin" or both')
    requests_per_s: float = Field(
        default=0, ge=0, le=1e6, description="predict requests a second; 0 is no limit"
    )
    max_concurrent: int = Field(
        default=0, ge=0, le=65_536, description="predict requests under way; 0 is no limit"
    )

    @model_validator(mode="before")
    @classmethod
    def _of_hash(cls, given: object) -> object:
        """A key of the usual kind is its hash alone."""
        return {"hash": given} if isinstance(given, str) else given
