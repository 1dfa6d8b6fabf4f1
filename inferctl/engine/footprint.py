"""What a model takes of a device's memory, step by step from before its load."""

from __future__ import annotations

import contextlib
import sys

from inferctl.bundles.manifest import Manifest
from inferctl.engine.cuda import Cuda
from inferctl.engine.room import MIB, check_device_room
from inferctl.engine.session import RunFailed


class Footprint:
    """By what the device says is left: that what others take or give back meanwhile, models of this
    engine or other processes, counts too, nobody can tell apart.

    Without a device that can be asked it knows nothing, and refuses nothing.
    """

    def __init__(self, manifest: Manifest, device: str, cuda: Cuda | None) -> None:
        """`device` is CUDA's as "cuda:0"."""
        self._manifest, self._device, self._cuda = manifest, device, cuda
        self._first_bytes = self._last_bytes = self._free_bytes()
        self._steps: list[str] = []
        # By the first instance alone, once another is to follow.
        self._one_bytes: int | None = None

    @property
    def taken_bytes(self) -> int:
        """Until the last step; 0 where that is not known."""
        return max(0, (self._first_bytes or 0) - (self._last_bytes or 0))

    def check_room(self, limit_bytes: int) -> None:
        """Raises InsufficientMemory when not even a session's weights fit; it may hold
        `limit_bytes`, or with 0 all that are left."""
        if (left_bytes := self._free_bytes()) is not None:
            left_bytes = min(left_bytes, limit_bytes or left_bytes)
            check_device_room(self._manifest, self._device, left_bytes)

    def check_room_for_another(self) -> None:
        """Raises InsufficientMemory when what the first took, all until now, does not fit again."""
        if self._one_bytes is None:
            self._one_bytes = self.taken_bytes
        if (left_bytes := self._free_bytes()) is not None:
            check_device_room(self._manifest, self._device, left_bytes, self._one_bytes)

    def step(self, what: str) -> None:
        """Something was done that takes memory."""
        before_bytes, self._last_bytes = self._last_bytes, self._free_bytes()
        if before_bytes is None or self._last_bytes is None:
            return
        if (taken_mib := (before_bytes - self._last_bytes) // MIB) > 0:
            self._steps.append(f"{taken_mib} {what}")

    def tell(self) -> None:
        """Say it in the log, where something is known."""
        if self._steps:
            sys.stderr.write(
                f"inferctl: {self._manifest.name}: takes {self.taken_bytes // MIB} MiB of "
                f"{self._device}: {', '.join(self._steps)}\n"
            )

    def _free_bytes(self) -> int | None:
        with contextlib.suppress(RunFailed):
            return self._cuda.free_bytes() if self._cuda else None
        return None
