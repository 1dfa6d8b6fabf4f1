"""The device: one ONNX Runtime session. With placement the only one that imports onnxruntime to
serve."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime as ort

from inferctl.device import number_of
from inferctl.engine.placement import PLAIN, CudaUse, place
from inferctl.errors import InferctlError, InsufficientMemory, StartError
from inferctl.settings import RuntimeSettings

Array = npt.NDArray[Any]
Bound = Mapping[str, tuple[Array, int]]

# What onnxruntime raises; it shares no base class below Exception and RuntimeError.
ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    MemoryError,
    *(
        error
        for error in vars(ort.capi.onnxruntime_pybind11_state).values()
        if isinstance(error, type) and issubclass(error, Exception)
    ),
)

# Of its logger beside any session: why it cannot start a provider is told nowhere else.
ERRORS, NOTHING = 3, 4
ort.set_default_logger_severity(ERRORS)

# How onnxruntime says that an allocation failed: its CPU allocator, its arenas, CUDA, C++.
NO_MEMORY = (
    "Failed to allocate memory",
    "Available memory of",
    "out of memory",
    "CUDA error 2:",
    "CUDA failure 2:",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "bad_alloc",
    "bad allocation",
)


# How onnxruntime says that cuDNN found no plan for a convolution.
NO_PLAN = ("Failed to initialize CUDNN Frontend", "OP not supported by CUDNN Frontend")
# How onnxruntime says which of CUDA's errors it met.
CUDA_ERROR = re.compile(r"\bCUDA (?:failure|error) (\d+)")
# Those after which every call of this process fails on that device, or in which it is not there.
LOST_ERRORS = frozenset({
    46, 100, 101, 214, 220, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721, 999,
})  # fmt: skip


# How it names what numpy names otherwise.
DTYPES = {
    "tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64",
    "tensor(uint8)": "uint8", "tensor(int32)": "int32", "tensor(int64)": "int64",
}  # fmt: skip

RECORD_NODES = "session.record_ep_graph_assignment_info"

# How it says that a run was told to end.
ENDED = "terminate flag"

# A thread each, also those of onnxruntime; only Linux tells.
THREADS = Path("/proc/self/task")


class RunFailed(InferctlError):
    """The graph failed on this input."""


class OutOfMemory(RunFailed):
    """The batch does not fit into the device's memory; a smaller one may."""


class NoKernel(RunFailed):
    """The device has no way to run batches of this shape; it may have one for others."""


class DeviceLost(RunFailed):
    """Nothing runs on the device any more in this process, whichever row that was for."""


class Ended(RunFailed):
    """The run was told to end, by its options, before it did."""


# Its key for the arenas that give back, at the end of a run, what no tensor lies in.
SHRINK = "memory.enable_memory_arena_shrinkage"

# onnxruntime's key for the graph that a run replays, or captures; the others are run plainly.
GRAPH_ID, NO_GRAPH = "gpu_graph_id", -1


def new_options() -> Any:
    """Options of a run: once `terminate` is set to True it ends after its current node."""
    return graph_options(NO_GRAPH)


def graph_options(number: int) -> Any:
    """Options of the runs of one CUDA graph; numbers begin with 1."""
    options = ort.RunOptions()
    options.add_run_config_entry(GRAPH_ID, str(number))
    return options


class Session:
    """A loaded graph on its device; `run` may be called from several threads at once."""

    def __init__(
        self, graph: Path, runtime: RuntimeSettings, threads: int, spins: bool = False,
        use: CudaUse = PLAIN,
    ) -> None:  # fmt: skip
        """Load a graph. Raises StartError if it does not load, or not on the device asked for.

        With `spins` its threads spin between two nodes of a run, but never between two runs.
        """
        placement = place(runtime, use)
        options = _session_options(threads, spins=spins, on_cuda=placement.on_cuda)
        before = _threads()
        try:
            self._session = ort.InferenceSession(
                str(graph), options, providers=[*placement.providers], enable_fallback=False
            )
        except ORT_ERRORS as error:
            if _says_no_memory(str(error)):
                raise InsufficientMemory("the graph does not fit", where=str(graph)) from None
            raise StartError(
                f"onnxruntime cannot load the graph: {str(error).splitlines()[0]}",
                where=str(graph),
                hint="export the bundle again",
            ) from None
        if threads > 1 and before and _threads() - before < threads - 1:
            # It would serve, many times slower: as after a fork, which leaves threads behind.
            raise StartError(f"onnxruntime did not start {threads} threads", where=str(graph))
        # After the session, so that it goes after it: the stream must outlive who runs in it.
        self.stream = use.stream
        self.provider: str = self._session.get_providers()[0]
        # Where it is at last, and why there.
        self.placement = placement.found(self._session, runtime)
        self.on_cuda = self.placement.on_cuda
        if self.on_cuda:
            # A search of cuDNN's is hundreds of lines; what comes of it is raised.
            ort.set_default_logger_severity(NOTHING)
        outputs = self._session.get_outputs()
        self._outputs = [output.name for output in outputs]
        self._plain = new_options()
        # As numpy names them; other kinds of output, as of sequences, have none.
        self.output_dtypes = {output.name: DTYPES.get(output.type, "") for output in outputs}

    def run(
        self, inputs: dict[str, Array], outputs: Sequence[str] | None = None, options: Any = None
    ) -> list[Array]:
        """Run the graph; arrays in, arrays out, in the order of `outputs` (all by default).

        Raises RunFailed when the graph refuses the input, OutOfMemory when it does not fit, Ended
        when `options` said so.
        """
        try:
            results: list[Array] = self._session.run(
                outputs or self._outputs, inputs, options or self._plain
            )
        except ORT_ERRORS as error:
            raise _failure(str(error)) from None
        return results

    def shrink(self, inputs: dict[str, Array]) -> None:
        """Run something small, after which the arena gives the device back what it does not use.

        A run that is too large leaves there what it got before it failed. Graphs use what the arena
        takes for unused, so with them it does nothing. Raises nothing: nobody waits for an answer.
        """
        if self.stream:
            return
        options = new_options()
        options.add_run_config_entry(SHRINK, f"gpu:{number_of(self.placement.device)}")
        with contextlib.suppress(RunFailed):
            self.run(inputs, options=options)

    def bind(self, inputs: Bound, outputs: Bound, device: str, device_id: int) -> ort.IOBinding:
        """Where runs find their inputs and put their outputs. Raises RunFailed.

        Each is an array of the tensor's shape and dtype, and where its twin lies on the device.
        """
        binding = self._session.io_binding()
        try:
            for bind, tensors in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
                for name, (like, address) in tensors.items():
                    bind(name, device, device_id, like.dtype, like.shape, address)
        except ORT_ERRORS as error:
            raise _failure(str(error)) from None
        return binding

    def run_bound(self, binding: ort.IOBinding, options: Any) -> None:
        """Run from and to what is bound; raises as `run`."""
        try:
            self._session.run_with_iobinding(binding, options)
        except ORT_ERRORS as error:
            raise _failure(str(error)) from None


def _session_options(threads: int, *, spins: bool, on_cuda: bool) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena keeps the high-water mark of the largest batch for ever and is no faster;
    # spinning threads burn a core between requests that the HTTP workers need.
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # Who runs which node, to be asked for below.
    options.add_session_config_entry(RECORD_NODES, str(int(on_cuda)))
    # Errors come as exceptions; a client must not be able to fill stderr with them.
    options.log_severity_level = 4
    return options


def _failure(message: str) -> RunFailed:
    what = next(iter(message.splitlines()), "")
    if ENDED in message:
        return Ended(what)
    if _says_no_memory(message):
        return OutOfMemory(what)
    if any(int(number) in LOST_ERRORS for number in CUDA_ERROR.findall(message)):
        return DeviceLost(what)
    return NoKernel(what) if any(sign in message for sign in NO_PLAN) else RunFailed(what)


def _says_no_memory(message: str) -> bool:
    return any(sign in message for sign in NO_MEMORY)


def _threads() -> int:
    """Threads of this process; 0 where that is not known."""
    try:
        return len(list(THREADS.iterdir()))
    except OSError:
        return 0
