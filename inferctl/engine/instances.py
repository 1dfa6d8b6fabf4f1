"""The instances of one model on one device: one that its threads share, or one for each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from inferctl.bundles.manifest import Manifest
from inferctl.cuda.lack import Lack
from inferctl.cuda.tf32 import is_tf32_ruled_out
from inferctl.device import is_strict, number_of
from inferctl.engine.cuda import Cuda, Memory, open_cuda
from inferctl.engine.device_instance import DeviceInstance
from inferctl.engine.footprint import Footprint
from inferctl.engine.instance import HostInstance, Instance, ShapedInstance
from inferctl.engine.placement import CudaUse, place
from inferctl.engine.session import DeviceLost, OutOfMemory, RunFailed, Session
from inferctl.engine.tensorrt import TensorRt
from inferctl.errors import InsufficientMemory, StartError
from inferctl.settings import RuntimeSettings


class Instances:
    """`session` is the first one's, and `first` the one that warms up; `footprint` is what all of
    them take of the device's memory."""

    first: Instance

    def __init__(
        self, graph: Path, manifest: Manifest, runtime: RuntimeSettings, threads: int
    ) -> None:
        """Load the first. Raises StartError."""
        self._graph, self._manifest = graph, manifest
        self._runtime, self._threads = runtime, threads
        tensorrt = TensorRt.of(manifest) if runtime.tensorrt else None
        placement = place(runtime, CudaUse(tensorrt=tensorrt))
        # What keeps it from TensorRT, where that need not be.
        self._lack = placement.lack if placement.on_cuda else None
        device = placement.device
        cuda = open_cuda(number_of(device)) if placement.on_cuda else None
        self.footprint = Footprint(manifest, device, cuda)
        self._cuda: Cuda | None = None
        if not (placement.on_tensorrt and tensorrt and self._begins_with_tensorrt(tensorrt)):
            self._begin_with_cuda(cuda if runtime.cuda_graphs else None)
        self.footprint.step("to load")

    @property
    def _prefers_channels_last(self) -> bool:
        """Convolutions are quicker so on tensor cores; for others cuDNN has few."""
        has_tf32 = self._runtime.tf32 and not is_tf32_ruled_out()
        return self._has_pictures and (self._manifest.precision == "fp16" or has_tf32)

    @property
    def _has_pictures(self) -> bool:
        """Then it has convolutions."""
        return self._manifest.image is not None

    def on(self, session: Session) -> HostInstance:
        """One that runs the model's batches on a session of its graph."""
        inputs = [(tensor.name, "tokens" in tensor.shape) for tensor in self._manifest.inputs]
        return HostInstance(session, inputs, [tensor.name for tensor in self._manifest.outputs])

    def another(self) -> Instance:
        """For one more thread; the first one, where threads may share it.

        Raises InsufficientMemory when the device does not hold all that the first took once more.
        """
        if self._cuda is None:
            return self.first
        self.footprint.check_room_for_another()
        return self._with_graphs(self._cuda, self._load(self._use))

    def _begins_with_tensorrt(self, tensorrt: TensorRt) -> bool:
        """One session for all threads, and graphs are its own matter."""
        try:
            session = self._load(CudaUse(tensorrt=tensorrt))
        except InsufficientMemory:
            raise
        except StartError as error:
            if is_strict(self._runtime.device):
                raise
            self._lack = Lack(error.what, "export it in another precision or opset")
            return False
        self._lack = session.placement.lack
        if self._lack is None:
            self.session, self.first = session, self.on(session)
        return self._lack is None

    def _begin_with_cuda(self, cuda: Cuda | None) -> None:
        """On a device with graphs, if they can be had."""
        session = self._load_for_graphs(cuda) if cuda else None
        self.session = session or self._load_in_a_layout(None)
        if cuda and session and session.on_cuda:
            self._cuda = cuda
            self.first = self._with_graphs(cuda, session)
        else:
            self.first = self._without_graphs()
        if self._lack and not self.session.placement.lack:
            self.session.placement = replace(self.session.placement, lack=self._lack)

    def _load_for_graphs(self, cuda: Cuda) -> Session | None:
        self._runs = cuda.stream()
        try:
            return self._load_in_a_layout(self._runs)
        except InsufficientMemory:
            raise
        except StartError:  # a node of it is none of CUDA's
            del self._use, self._runs
            return None

    def _load_in_a_layout(self, stream: Memory | None) -> Session:
        """With channels last onnxruntime moves some shapes to the device and back, which a graph
        cannot hold, and cuDNN has not every convolution: what does not load, or run, is loaded
        otherwise. Raises StartError and DeviceLost."""
        if self._prefers_channels_last:
            self._use = CudaUse(stream, channels_last=True)
            try:
                return self._load_and_try(self._use)
            except (InsufficientMemory, DeviceLost):
                raise
            except OutOfMemory:
                raise InsufficientMemory(f"{self._manifest.name} fails at 1 row") from None
            except (StartError, RunFailed):
                pass
        self._use = CudaUse(stream)
        return self._load(self._use)

    def _load_and_try(self, use: CudaUse) -> Session:
        """With a run of a row of zeros, on a device. Raises RunFailed too."""
        session = self._load(use)
        if session.on_cuda:
            row = {
                tensor.name: np.zeros((1, *tensor.row_shape(1)), tensor.dtype)
                for tensor in self._manifest.inputs
            }
            session.run(row)
        return session

    def _with_graphs(self, cuda: Cuda, session: Session) -> DeviceInstance:
        return DeviceInstance(cuda, session, self._runs, self._manifest, self.on(session))

    def _without_graphs(self) -> Instance:
        if not self.session.on_cuda or not self._has_pictures:
            return self.on(self.session)
        use = self._use
        return ShapedInstance(self.on(self.session), lambda: self.on(self._load(use)))

    def _load(self, use: CudaUse) -> Session:
        self.footprint.check_room(self._runtime.memory_limit_bytes)
        return Session(self._graph, self._runtime, self._threads, use=use)
