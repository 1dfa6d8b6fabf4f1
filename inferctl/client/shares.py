"""Many inputs as shares: what is asked for in one request."""

from __future__ import annotations

from collections.abc import Iterator

from inferctl.client.inputs import Input, is_picture

Share = list[Input]

# So many texts or tensors are asked for together. Images go out one by one, as they are: in JSON
# they would grow by a third, and one worker would decode all of them. Measured: docs/client.md.
ITEMS_AT_ONCE = 32


class Shares:
    """Takes inputs and gives shares of them in the same order."""

    def __init__(self) -> None:
        self._waiting: Share = []

    def add(self, x: Input) -> Iterator[Share]:
        """The shares that an input makes complete."""
        if is_picture(x):
            yield from self.rest()
            yield [x]
            return
        self._waiting.append(x)
        if len(self._waiting) == ITEMS_AT_ONCE:
            yield from self.rest()

    def rest(self) -> Iterator[Share]:
        """What is left over, if anything is."""
        if self._waiting:
            share, self._waiting = self._waiting, []
            yield share
