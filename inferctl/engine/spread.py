"""The instances of one model on all its devices, which take batches from its one queue.

Whoever is free takes the next batch, so no device waits while another has rows waiting. Rows that
were given to a device beforehand, by the length of its queue, could.
"""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

from inferctl.arena.placed import Placed
from inferctl.bundles.manifest import Manifest
from inferctl.device import device_of, number_of
from inferctl.engine.footprint import Footprint
from inferctl.engine.instance import HostInstance, Instance
from inferctl.engine.instances import Instances
from inferctl.engine.placement import apart
from inferctl.engine.session import OutOfMemory, RunFailed, Session
from inferctl.errors import InferctlError, InsufficientMemory, StartError
from inferctl.settings import RuntimeSettings


class Spread:
    """`each` has those of one device, in the order in which they are asked for. `spared` are the
    errors for which a device is left out, while there is another."""

    def __init__(
        self, graph: Path, manifest: Manifest, runtime: RuntimeSettings, threads: int, *,
        must_all: bool = True,
    ) -> None:  # fmt: skip
        """Load the first one on each device. Raises StartError, or RunFailed: where no device has
        the memory, and for whatever else a device lacks, if they `must_all` be there."""
        self._name = manifest.name
        self._left_out: list[str] = []
        self.each: list[Instances] = []
        devices = apart(runtime, must_all=must_all)
        tolerates = len(devices) > 1 and not must_all
        self.spared = (StartError, RunFailed) if tolerates else (InsufficientMemory, OutOfMemory)
        for own in devices:
            try:
                self.each.append(Instances(graph, manifest, own, threads))
            except self.spared as error:
                if own is devices[-1] and not self.each:
                    raise
                self._tell(own.device, error)

    @property
    def first(self) -> Instance:
        """The one that warms up."""
        return self.each[0].first

    @property
    def session(self) -> Session:
        """The first one's."""
        return self.each[0].session

    @property
    def footprint(self) -> Footprint:
        """Of the first device's."""
        return self.each[0].footprint

    @property
    def taken_bytes(self) -> int:
        """Of the memory of all devices; 0 where that is not known."""
        return sum(one.footprint.taken_bytes for one in self.each)

    def on(self, session: Session) -> HostInstance:
        """One that runs the model's batches on a session of its graph."""
        return self.each[0].on(session)

    def leave_out(self, one: Instances, error: InferctlError) -> None:
        """A device is not used, for an error among `spared`; raises it where there is no other."""
        if len(self.each) == 1:
            raise error
        self.each.remove(one)
        self._tell(one.session.placement.device, error)

    def told(self) -> Placed:
        """Where they are, as everybody may know it."""
        placements = [one.session.placement for one in self.each]
        told = placements[0].told()
        if not told.on_cuda:
            return told
        nodes = chain.from_iterable(placement.nodes_on_cpu for placement in placements)
        return told._replace(
            device=device_of([number_of(placement.device) for placement in placements]),
            uuids=tuple(placement.uuid for placement in placements),
            nodes_on_cpu=tuple(dict.fromkeys(nodes)),
            left_out=tuple(self._left_out),
        )

    def tell(self) -> None:
        """Say in the log what memory they take."""
        for one in self.each:
            one.footprint.tell()

    def _tell(self, device: str, error: InferctlError) -> None:
        self._left_out.append(f"{device} ({error.what})")
        sys.stderr.write(f"inferctl: {self._name}: {device} is left out: {error.what}\n")
