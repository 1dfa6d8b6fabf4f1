"""Where a model runs, decided before onnxruntime is asked, and why there.

Asked for a CUDA that it cannot have, onnxruntime quietly serves from the CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import onnxruntime as ort

from inferctl.arena.placed import Placed
from inferctl.cuda.driver import ask_driver, lack_of_driver, lack_of_library, uuid_of
from inferctl.cuda.lack import Lack
from inferctl.cuda.libraries import NO_PROVIDER, PROVIDER, lack_of_libraries, missing_libraries
from inferctl.cuda.tensorrt import NO_PROVIDER as NO_TENSORRT
from inferctl.cuda.tf32 import rule_out_tf32
from inferctl.device import device_of, is_strict, may_be_several, number_of, numbers_of
from inferctl.engine.tensorrt import TENSORRT, Build, TensorRt, provider_of
from inferctl.errors import StartError
from inferctl.settings import RuntimeSettings

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
# Where its libraries are.
CAPI = Path(ort.__file__).parent / "capi"
# Whatever it is of which nothing was found beforehand.
NOT_STARTED = Lack(
    "onnxruntime could not start its CUDA provider", "`inferctl doctor` tries it and tells why"
)
TENSORRT_NOT_STARTED = Lack(
    "onnxruntime could not start its TensorRT provider", "see that TensorRT fits to onnxruntime"
)
NO_TENSORRT_NODE = Lack("TensorRT runs no node of the graph", "serve it in fp32 or fp16")
NO_NODE = Lack(
    "no node of the graph runs on CUDA", "serve it in fp32 or fp16, or set runtime.device = cpu"
)
# What computes shapes, which onnxruntime leaves to the CPU on purpose: a few integers each.
OF_SHAPES = frozenset({
    "Add", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand",
    "Floor", "Gather", "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul", "Not", "Range",
    "ReduceMax", "ReduceMin", "ReduceProd", "Reshape", "Shape", "Size", "Slice", "Squeeze", "Sub",
    "Unsqueeze", "Where", "MemcpyFromHost", "MemcpyToHost",
})  # fmt: skip


class Stream(Protocol):
    """One of CUDA's, by its handle; it is there as long as somebody holds this."""

    address: int


@dataclass(frozen=True, slots=True)
class CudaUse:
    """How a session uses CUDA: on this stream, as which it captures graphs, or on those of its own;
    whether convolutions have their channels last; and with TensorRT before it, which is told this.
    """

    stream: Stream | None = None
    channels_last: bool = False
    tensorrt: TensorRt | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """`device` is "cpu", or CUDA's as "cuda:0"; `uuid` is the GPU's by NVML, if it is known.

    `lack` is what kept a model from the GPU that it would have had, or on one from TensorRT;
    `nodes_on_cpu` are those of its graph that are not on that GPU with it, by kind and name.
    """

    device: str
    providers: tuple[Any, ...]
    uuid: str = ""
    lack: Lack | None = None
    nodes_on_cpu: tuple[str, ...] = ()

    @property
    def on_cuda(self) -> bool:
        """Whether it is on a GPU."""
        return self.device != "cpu"

    @property
    def on_tensorrt(self) -> bool:
        """Whether TensorRT comes first there."""
        return any(provider[0] == TENSORRT for provider in self.providers)

    def told(self) -> Placed:
        """What everybody may know of it."""
        missing, fix = self.lack or ("", "")
        return Placed(self.device, (self.uuid,), missing, fix, self.nodes_on_cpu)

    def found(self, session: Any, runtime: RuntimeSettings) -> Placement:
        """As it is, once onnxruntime's session says which provider it has and which nodes it left
        to the CPU. Raises StartError when CUDA must be, and has no session or no node."""
        if not self.on_cuda:
            return self
        first, parts = session.get_providers()[0], session.get_provider_graph_assignment_info
        if first == TENSORRT:
            return self._assigned(parts(), runtime)
        if first == CUDA:
            placement = self
            if self.on_tensorrt:
                placement = self.without_tensorrt(TENSORRT_NOT_STARTED, runtime)
            return placement._assigned(parts(), runtime)
        if is_strict(runtime.device):
            raise NOT_STARTED.refusal(runtime.device)
        return replace(_ON_CPU, lack=NOT_STARTED)

    def without_tensorrt(self, lack: Lack, runtime: RuntimeSettings) -> Placement:
        """On CUDA alone, for that is missing. Raises StartError where that must not be."""
        if is_strict(runtime.device):
            raise StartError(
                lack.what,
                where=f"runtime.tensorrt = true, runtime.device = {runtime.device}",
                hint=f"{lack.fix}; or set runtime.tensorrt = false",
            )
        providers = [provider for provider in self.providers if provider[0] != TENSORRT]
        return replace(self, providers=tuple(providers), lack=lack)

    def _assigned(self, parts: Sequence[Any], runtime: RuntimeSettings) -> Placement:
        of: dict[str, list[Any]] = {}
        for part in parts:
            of.setdefault(part.ep_name, []).extend(part.get_nodes())
        if self.on_tensorrt and TENSORRT not in of:
            return self.without_tensorrt(NO_TENSORRT_NODE, runtime)._assigned(parts, runtime)
        strays = [node for node in of.get(CPU, ()) if node.op_type not in OF_SHAPES]
        if strays and not {CUDA, TENSORRT} & of.keys() and is_strict(runtime.device):
            raise NO_NODE.refusal(runtime.device)
        return replace(self, nodes_on_cpu=tuple(map(_shown, strays)))


_ON_CPU = Placement("cpu", (CPU,))
PLAIN = CudaUse()


def place(runtime: RuntimeSettings, use: CudaUse = PLAIN) -> Placement:
    """Where a model of these settings is to run. Raises StartError when it must have a GPU, and
    something is missing."""
    if runtime.device == "cpu":
        return _ON_CPU
    if not runtime.tf32:
        rule_out_tf32()
    number = number_of(runtime.device)
    if lack := _lack(number):
        if is_strict(runtime.device):
            raise lack.refusal(runtime.device)
        return replace(_ON_CPU, lack=lack)
    options = _cuda_options(runtime, number, use)
    placement = Placement(f"cuda:{number}", ((CUDA, options), CPU), uuid_of(number))
    if use.tensorrt is None:
        return placement
    found = _tensorrt(use.tensorrt, runtime, number)
    if isinstance(found, Lack):
        return placement.without_tensorrt(found, runtime)
    return replace(placement, providers=(found, *placement.providers))


def _tensorrt(
    model: TensorRt, runtime: RuntimeSettings, number: int
) -> tuple[str, dict[str, str]] | Lack:
    if TENSORRT not in ort.get_available_providers():
        return NO_TENSORRT
    return provider_of(model, runtime, number, Build(ort.__version__, str(ort.cuda_version), CAPI))


def apart(runtime: RuntimeSettings, *, must_all: bool = True) -> list[RuntimeSettings]:
    """The same settings for each of the devices that they mean, in their order.

    Raises StartError when something is missing for CUDA, or for one that `must_all` be there.
    """
    if not may_be_several(runtime.device):
        return [runtime]
    if lack := _lack(max(numbers_of(runtime.device)) if must_all else 0):
        raise lack.refusal(runtime.device)
    numbers = numbers_of(runtime.device, ask_driver().devices)
    return [runtime.model_copy(update={"device": device_of([one])}) for one in numbers]


def _cuda_options(runtime: RuntimeSettings, number: int, use: CudaUse) -> dict[str, str]:
    """What onnxruntime is told of CUDA; docs/gpu.md says what each gained."""
    options = {
        "device_id": str(number),
        # Powers of two would hold up to twice the memory.
        "arena_extend_strategy": "kSameAsRequested",
        "prefer_nhwc": str(int(use.channels_last)),
        # The default ones are four times as slow.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "use_tf32": str(int(runtime.tf32)),
    }
    if runtime.memory_limit_bytes:
        options["gpu_mem_limit"] = str(runtime.memory_limit_bytes)
    if use.stream:
        options |= {"user_compute_stream": str(use.stream.address), "enable_cuda_graph": "1"}
    return options


def _lack(number: int) -> Lack | None:
    """What is missing for that device; what is quick to look at comes first."""
    if CUDA not in ort.get_available_providers():
        return NO_PROVIDER
    if lack := lack_of_library():
        return lack
    cuda = str(ort.cuda_version)
    if lack := lack_of_driver(ask_driver(), cuda, number):
        return lack
    with redirect_stdout(StringIO()):  # it prints what it does not find
        ort.preload_dlls()
    return lack_of_libraries(missing_libraries(CAPI / PROVIDER, cuda), cuda)


def _shown(node: Any) -> str:
    kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return f"{kind} {node.name}".rstrip()
