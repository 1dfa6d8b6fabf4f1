"""Keeps what may allocate device memory and the capture of a CUDA graph apart.

A capture watches the whole process: an allocation of any thread breaks it, and fails itself, unless
that thread has said that it minds its own captures alone, as those that run graphs have
(https://docs.nvidia.com/cuda/cuda-programming-guide, stream capture, cudaStreamCaptureModeGlobal,
which is what onnxruntime uses).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Captures:
    """Either any number of allocating runs, or one capture. A capture that waits goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._allocating = 0
        self._captures = 0  # those that wait, too
        self._is_capturing = False

    @contextmanager
    def allocating(self) -> Iterator[None]:
        """For a run that is no graph's."""
        with self._changed:
            self._changed.wait_for(lambda: not self._captures)
            self._allocating += 1
        try:
            yield
        finally:
            with self._changed:
                self._allocating -= 1
                self._changed.notify_all()

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """For the runs that make a graph."""
        with self._changed:
            self._captures += 1
            self._changed.wait_for(lambda: not self._allocating and not self._is_capturing)
            self._is_capturing = True
        try:
            yield
        finally:
            with self._changed:
                self._captures -= 1
                self._is_capturing = False
                self._changed.notify_all()


# Of this process, as a capture is.
CAPTURES = Captures()
