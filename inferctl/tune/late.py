"""What did not come in time."""

from __future__ import annotations

from inferctl.errors import StartError


class Late(StartError):
    """What did not come in time, on this machine today: nothing is kept of it."""
