"""Where each version runs and why there, as the engine found it, for everybody to see.

What an engine wrote stays until its successor has loaded: a service is not told to be elsewhere
while it loads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from inferctl.arena.sheet import Sheet
from inferctl.device import device_of, numbers_of

# Of every place about so much as a version says that lacks a library; memory that is not used is
# none.
PLACED_BYTES = 256 * 1024
# So many nodes of a graph are named, each in so many characters.
MAX_NODES, MAX_NODE_CHARS = 20, 120
# Reasons may be whole messages of a library.
MAX_REASON_CHARS, LEAST_CHARS = 300, 40


class Placed(NamedTuple):
    """`device` is "cpu", or CUDA's as "cuda:0", of several as "cuda:0,1"; `uuids` are the GPUs' by
    NVML in that order, each empty if it is not known.

    `missing` is what kept a version from a GPU that it would have had, or on one from TensorRT, and
    `fix` what would mend that. `nodes_on_cpu` are those of its graph that are not on the GPU with
    it; the first ones. `left_out` are devices that it was to be on too, each with the reason.
    """

    device: str
    uuids: tuple[str, ...] = ("",)
    missing: str = ""
    fix: str = ""
    nodes_on_cpu: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def on_cuda(self) -> bool:
        """Whether it is on a GPU."""
        return self.device != "cpu"

    @property
    def devices(self) -> tuple[str, ...]:
        """Each GPU by its name: "cuda:0", "cuda:1"."""
        if not self.on_cuda:
            return ()
        return tuple(device_of([number]) for number in numbers_of(self.device))


class PlacedVersions:
    """In shared memory of PLACED_BYTES."""

    def __init__(self, memory: memoryview[int]) -> None:
        self._sheet = Sheet(memory)

    def write(self, placed: Mapping[int, Placed]) -> None:
        """These are all there are, by place; with less said of each if there is no room."""
        for shortened in (_cut, _bare, _least):
            text = _text({place: shortened(one) for place, one in placed.items()})
            if len(text) <= self._sheet.room:
                break
        self._sheet.write(text)

    def read(self) -> dict[int, Placed]:
        """By place; without those that are still being loaded."""
        found = json.loads(self._sheet.read() or b"{}")
        return {
            int(place): Placed(device, tuple(uuids), missing, fix, tuple(nodes), tuple(left_out))
            for place, (device, uuids, missing, fix, nodes, left_out) in found.items()
        }


def _text(placed: Mapping[int, Placed]) -> bytes:
    return json.dumps(placed).encode("ascii")


def _bare(placed: Placed) -> Placed:
    return _cut(placed)._replace(nodes_on_cpu=(), left_out=())


def _least(placed: Placed) -> Placed:
    return _bare(placed)._replace(missing=placed.missing[:LEAST_CHARS], fix="")


def _cut(placed: Placed) -> Placed:
    nodes = [node[:MAX_NODE_CHARS] for node in placed.nodes_on_cpu[:MAX_NODES]]
    if more := len(placed.nodes_on_cpu) - len(nodes):
        nodes.append(f"and {more} more")
    missing, fix = placed.missing[:MAX_REASON_CHARS], placed.fix[:MAX_REASON_CHARS]
    return placed._replace(missing=missing, fix=fix, nodes_on_cpu=tuple(nodes))
