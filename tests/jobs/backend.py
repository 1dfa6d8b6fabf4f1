"""What the contract's tests need of a kind of store."""

from __future__ import annotations

from typing import Any, Protocol

from inferctl.jobs.store import Store


class Advancing(Protocol):
    """Time; where it cannot be set, it is waited for. Tests never ask for more than 2 seconds."""

    def advance(self, seconds: float) -> None: ...


class Backend(Protocol):
    """Opens stores that are one: each as another process would."""

    @property
    def clock(self) -> Advancing: ...

    def open(self, **settings: Any) -> Store: ...
