"""Whether SIGHUP is what it once meant: the terminal that the service was started in is gone."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

STANDARD = (0, 1, 2)


def is_hung_up(descriptors: Iterable[int] = STANDARD) -> bool:
    """Whether one of the descriptors is a terminal that was closed."""
    for number in descriptors:
        try:
            os.tcgetpgrp(number)
        except OSError as error:
            if error.errno == errno.EIO:  # no terminal at all is another error
                return True
    return False
