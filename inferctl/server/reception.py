"""A body that did not come whole with its head, on its way into memory."""

from __future__ import annotations

from collections.abc import Callable

from inferctl.heap import untouched
from inferctl.tasks.base import Body


class Reception:
    """The body's own memory, which the socket is read into.

    `size` is its length in bytes, `filled` what of it came, `first` what came with the head. Its
    memory is taken as it comes: who announces much and sends little holds little. `hold` is told
    how many bytes that is, and says whether they may be; if not, it is forgotten. Without `hold`
    nobody wants it.
    """

    __slots__ = ("_first", "_hold", "_view", "body", "filled", "size")

    def __init__(self, first: Body, size: int, hold: Callable[[int], bool] | None = None) -> None:
        self.size = size
        self.body = bytearray()
        self._first = first
        self.filled = len(first)
        self._hold = hold
        self._view = memoryview(self.body)

    def room(self, waste: memoryview) -> memoryview:
        """Where the next bytes go, and no more than are left: in `waste` they may be forgotten."""
        if not self._hold:
            return waste[: self.size - self.filled]
        if not self.body:
            self.body = untouched(self.size)
            self.body[: self.filled] = self._first
            self._view = memoryview(self.body)
        return self._view[self.filled :]

    def forget(self) -> None:
        """Nobody wants it any more: what is still to come goes nowhere."""
        self._hold = None
        self.body = bytearray()
        self._view = memoryview(self.body)

    def advance(self, received: int) -> bool:
        """So many bytes came; whether the body is complete."""
        self.filled += received
        if self._hold and not self._hold(self.filled):
            self.forget()
        return self.filled == self.size
