"""What the generator's processes wrote of their requests, read on while they write."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inferctl.bench.figures import Requests

REQUESTS = "requests-*.f64"
COLUMNS = 4
ROW_BYTES = 8 * COLUMNS


class Records:
    """The requests of a folder, of all processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read_bytes: dict[Path, int] = {}
        self._requests: Requests = np.empty((0, COLUMNS))

    def read(self) -> Requests:
        """All so far, rows of whole requests; may be empty."""
        parts = [self._requests]
        for file in sorted(self._folder.glob(REQUESTS)):
            begin = self._read_bytes.get(file, 0)
            # The last row may be written in part only.
            rows = (file.stat().st_size - begin) // ROW_BYTES
            found = np.fromfile(file, np.float64, rows * COLUMNS, offset=begin)
            self._read_bytes[file] = begin + rows * ROW_BYTES
            parts.append(found.reshape(-1, COLUMNS))
        self._requests = np.concatenate(parts)
        return self._requests
