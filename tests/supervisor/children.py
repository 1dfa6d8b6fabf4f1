"""Children that are told and answer, without processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from inferctl.supervisor.child import Child
from inferctl.supervisor.errands import Errands

Message = dict[str, Any]
# What a child answers to a message: None is done, a text why not, SILENT nothing at all.
SILENT = "silent"
Answer = Callable[[Message], str | None]


class FakeChild:
    """Does at once what it is told, unless `answer` says otherwise; dead children hear nothing."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands
        self.told: list[Message] = []
        self.answer: Answer = lambda message: None
        self.is_dead = False

    @property
    def child(self) -> Child:
        return cast(Child, self)

    def tell(self, message: Message, descriptor: int | None = None) -> bool:
        if self.is_dead:
            return False
        self.told.append(message)
        error = self.answer(message)
        if "id" in message and error != SILENT:
            self._errands.heard({"event": "answer", "to": message["id"], "error": error})
        return True

    def die(self) -> None:
        self.is_dead = True
        self._errands.lost(self.child)

    def heard(self) -> list[str]:
        """What it was told to do, and of which place."""
        return [_in_short(message) for message in self.told]


def _in_short(message: Message) -> str:
    place = message.get("place", message.get("model", {}).get("place", ""))
    return f"{message['do']} {place}".strip()
