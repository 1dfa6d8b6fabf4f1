"""The device: one ONNX Runtime session. The only module that imports onnxruntime to serve."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime as ort

from inferctl.errors import InferctlError, InsufficientMemory, StartError
from inferctl.settings import RuntimeSettings

Array = npt.NDArray[Any]

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

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


# How it names what numpy names otherwise.
DTYPES = {
    "tensor(float16)": "float16", "tensor(float)": "float32", "tensor(double)": "float64",
    "tensor(uint8)": "uint8", "tensor(int32)": "int32", "tensor(int64)": "int64",
}  # fmt: skip

# How it says that a run was told to end.
ENDED = "terminate flag"

# A thread each, also those of onnxruntime; only Linux tells.
THREADS = Path("/proc/self/task")


class RunFailed(InferctlError):
    """The graph failed on this input."""


class OutOfMemory(RunFailed):
    """The batch does not fit into the device's memory; a smaller one may."""


class Ended(RunFailed):
    """The run was told to end, by its options, before it did."""


def new_options() -> Any:
    """Options of a run: once `terminate` is set to True it ends after its current node."""
    return ort.RunOptions()


class Session:
    """A loaded graph on its device; `run` may be called from several threads at once."""

    def __init__(
        self, graph: Path, runtime: RuntimeSettings, threads: int, spins: bool = False
    ) -> None:
        """Load a graph. Raises StartError if it does not load, or not on the device asked for.

        With `spins` its threads spin between two nodes of a run, but never between two runs.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # The arena keeps the high-water mark of the largest batch for ever and is no faster;
        # spinning threads burn a core between requests that the HTTP workers need.
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # Errors come as exceptions; a client must not be able to fill stderr with them.
        options.log_severity_level = 4
        before = _threads()
        try:
            self._session = ort.InferenceSession(
                str(graph), options, providers=_providers(runtime), enable_fallback=False
            )
        except ORT_ERRORS as error:
            if _says_no_memory(str(error)):
                raise InsufficientMemory("the graph does not fit", where=str(graph)) from None
            raise StartError(
                f"onnxruntime cannot load the graph: {str(error).splitlines()[0]}",
                where=str(graph),
                hint="export the bundle again",
            ) from None
        if before and _threads() - before < threads - 1:
            # It would serve, many times slower: as after a fork, which leaves threads behind.
            raise StartError(f"onnxruntime did not start {threads} threads", where=str(graph))
        self.provider: str = self._session.get_providers()[0]
        if runtime.device == "cuda" and self.provider != CUDA:
            raise _no_cuda("onnxruntime could not start its CUDA provider")
        outputs = self._session.get_outputs()
        self._outputs = [output.name for output in outputs]
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
            results: list[Array] = self._session.run(outputs or self._outputs, inputs, options)
        except ORT_ERRORS as error:
            raise _failure(str(error)) from None
        return results


def _failure(message: str) -> RunFailed:
    what = next(iter(message.splitlines()), "")
    if ENDED in message:
        return Ended(what)
    return OutOfMemory(what) if _says_no_memory(message) else RunFailed(what)


def _says_no_memory(message: str) -> bool:
    return any(sign in message for sign in NO_MEMORY)


def _threads() -> int:
    """Threads of this process; 0 where that is not known."""
    try:
        return len(list(THREADS.iterdir()))
    except OSError:
        return 0


def _providers(runtime: RuntimeSettings) -> list[Any]:
    """The provider list for a device, without asking onnxruntime for what is not there.

    Asked for CUDA without a driver it prints two lines and quietly serves from the CPU.
    """
    if runtime.device == "cpu":
        return [CPU]
    if not _has_cuda_driver() or CUDA not in ort.get_available_providers():
        if runtime.device == "cuda":
            raise _no_cuda("no CUDA driver (libcuda.so.1) on this machine")
        return [CPU]
    ort.preload_dlls()
    options: dict[str, str] = {"arena_extend_strategy": "kSameAsRequested"}
    if runtime.memory_limit_bytes:
        options["gpu_mem_limit"] = str(runtime.memory_limit_bytes)
    return [(CUDA, options), CPU]


def _has_cuda_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _no_cuda(what: str) -> StartError:
    return StartError(
        what, where="runtime.device = cuda", hint="install the driver, or use --device auto"
    )
