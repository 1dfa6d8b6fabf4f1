"""What keeps a model from a GPU, in the words that everybody uses for it."""

from __future__ import annotations

from typing import NamedTuple

from inferctl.errors import StartError


class Lack(NamedTuple):
    """What is missing, and what would mend that; each a sentence without a full stop."""

    what: str
    fix: str

    def refusal(self, device: str) -> StartError:
        """The error of a start that must have that device."""
        return StartError(
            self.what, where=f"runtime.device = {device}", hint=f"{self.fix}; or use --device auto"
        )
