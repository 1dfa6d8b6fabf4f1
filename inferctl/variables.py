"""Settings by the names that the environment and `.env` have for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    SettingsConfigDict,
)

from inferctl.settings import Settings
from inferctl.tracing import Tracing, tracing_of

ENV_PREFIX = "INFERCTL_"
ENV_DELIMITER = "__"
# The key that commands ask servers with; a variable, for `ps` shows what is on a command line.
API_KEY = "INFERCTL_API_KEY"


class _InEnvironment(Settings, BaseSettings):
    """The tree as pydantic-settings reads it from names; never made.

    Apart from the tree, which the engine imports too: pydantic-settings is larger than pydantic.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter=ENV_DELIMITER)


class Variables(EnvSettingsSource):
    """The environment, in which a list may be written `a,b`."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """JSON, or what the list's own validator makes of it. Raises ValueError."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            if field and get_origin(field.annotation) is tuple:
                return value
            raise


class _DotenvVariables(Variables, DotEnvSettingsSource):
    """The same in `.env`."""


def of_environment() -> Variables:
    """Those of this process."""
    return Variables(_InEnvironment)


def of_dotenv(path: Path) -> Variables:
    """Those of a file, which need not be there."""
    return _DotenvVariables(_InEnvironment, env_file=path, dotenv_filtering="match_prefix")


def tracing() -> Tracing | None:
    """Whether and how traces are made, by OpenTelemetry's variables."""
    return tracing_of(of_environment().env_vars)


def api_key(dotenv: Path = Path(".env")) -> str | None:
    """The key that commands ask servers with, of the environment or of `.env`."""
    name = API_KEY.lower()
    return of_environment().env_vars.get(name) or of_dotenv(dotenv).env_vars.get(name)
