"""What children were asked for and have not done yet."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Any

from inferctl.supervisor.child import Child

Outcome = str | None


class Errands:
    """Messages that are answered. Each answer is None when it is done, or why it cannot be."""

    def __init__(self) -> None:
        self._numbers = count()
        self._open: dict[int, tuple[Child, asyncio.Future[Outcome], Outcome]] = {}

    def ask(
        self,
        child: Child,
        message: dict[str, Any],
        descriptor: int | None = None,
        *,
        if_lost: Outcome = None,
    ) -> asyncio.Future[Outcome]:
        """Tell a child a message. Its answer; `if_lost` when it is dead, or dies before that."""
        number = next(self._numbers)
        answered: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._open[number] = child, answered, if_lost
        if not child.tell(message | {"id": number}, descriptor):
            self._answer(number, if_lost)
        return answered

    def heard(self, message: dict[str, Any]) -> None:
        """A child answered."""
        self._answer(message["to"], message["error"])

    def lost(self, child: Child) -> None:
        """A child died."""
        for number, (asked, _, if_lost) in list(self._open.items()):
            if asked is child:
                self._answer(number, if_lost)

    def _answer(self, number: int, outcome: Outcome) -> None:
        _, answered, _ = self._open.pop(number)
        if not answered.done():  # whoever asked may have stopped to wait
            answered.set_result(outcome)
