"""Settings of jobs: what is asked for now and answered later."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_serializer

from inferctl.section import Section

GIB = 1024 * 1024 * 1024


class JobsSettings(Section):
    """Where jobs are kept, how many, how long, and who does them."""

    backend: Literal["sqlite", "celery", "off"] = Field(
        default="sqlite",
        description='"sqlite" keeps them on this machine; "celery" in Redis, for many machines',
    )
    path: str = Field(default="state", min_length=1, description="folder of the SQLite store")
    strict_store: bool = Field(
        default=False, description="a damaged store ends the start; else it is put aside"
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        pattern=r"^rediss?://",
        repr=False,
        description='where Redis is, for "celery"; may have a password, which is never shown',
    )
    run: bool = Field(
        default=True, description="this service does jobs; false: it takes them in for others"
    )
    lease_s: float = Field(
        default=15.0, ge=0.5, le=3600, description="who does not renew a job for so long lost it"
    )
    max_attempts: int = Field(
        default=3, ge=1, le=100, description="how often a job is begun before it has failed"
    )
    keep_h: float = Field(
        default=24.0, gt=0, le=8760, description="how long a result is kept; then it answers 410"
    )
    max_jobs: int = Field(
        default=10_000, ge=1, description="jobs that wait or are being done; more get 429"
    )
    max_bytes: int = Field(
        default=GIB, ge=1024, description="what they may hold of inputs together; more get 429"
    )
    max_items: int = Field(default=100_000, ge=1, description="inputs of one job; more get 413")

    @field_serializer("redis_url", when_used="json")
    def _without_password(self, url: str) -> str:
        """As it is shown: a user and a password stand before the host, or behind a `?`."""
        return re.sub(r"//.*@|(?<=password=)[^&]*", _masked, url)


def _masked(secret: re.Match[str]) -> str:
    return "//***@" if secret[0].startswith("//") else "***"
