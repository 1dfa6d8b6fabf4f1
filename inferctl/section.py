"""What every section of the settings is."""

from __future__ import annotations

from typing import get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A frozen section of the tree that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _is_what_it_looks_like(cls, given: object, info: ValidationInfo) -> object:
        """TOML's `true` is no 1, and no name or path has a control character."""
        wanted = cls.model_fields[info.field_name or ""].annotation
        if isinstance(given, bool) and bool not in (wanted, *get_args(wanted)):
            raise PydanticCustomError("boolean", "should be no boolean")
        if isinstance(given, str) and any(ord(sign) < ord(" ") for sign in given):
            raise PydanticCustomError("control_character", "should have no control characters")
        return given


def parts(given: object) -> object:
    """A list as a flag or the environment writes it: `1,2`."""
    if isinstance(given, str) and given != "latest":
        return [part.strip() for part in given.strip("[]").split(",") if part.strip()]
    return given
