"""RFC 9457 problem details: the form of our own errors."""

from __future__ import annotations

from pydantic import BaseModel


class Problem(BaseModel):
    """`code` is stable; `hint` says what to do."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    hint: str | None = None
