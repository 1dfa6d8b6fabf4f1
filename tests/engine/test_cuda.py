"""CUDA's runtime: who owns memory, and what an error becomes."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest

from inferctl.engine import cuda as cuda_module
from inferctl.engine.cuda import Cuda, array_at, open_cuda
from inferctl.engine.session import DeviceLost, OutOfMemory, RunFailed

from .cudas import Error, HostCuda, Runtime, host_cuda

THREAD_LOCAL = Runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal


def test_an_array_goes_to_the_device_and_comes_back() -> None:
    cuda, _ = host_cuda()
    stream, sent, received = cuda.stream(), np.arange(6, dtype=np.float32), np.zeros(6, np.float32)
    device = cuda.device_memory(sent.nbytes)
    cuda.upload(sent, device, stream)
    cuda.download(device, received, stream)
    cuda.wait(stream)
    assert received.tolist() == sent.tolist()


def test_memory_of_the_device_begins_as_zeros() -> None:
    cuda, _ = host_cuda()
    zeros = array_at(cuda.device_memory(8), (2,), "float32")
    assert zeros.tolist() == [0.0, 0.0]


def test_memory_goes_back_with_the_last_who_holds_it() -> None:
    cuda, runtime = host_cuda()
    memory, page_locked = cuda.device_memory(100), cuda.host_memory(50)
    assert runtime.left == 2**30 - 150
    del memory, page_locked
    assert runtime.left == cuda.free_bytes() == 2**30


def test_too_little_memory_is_told_from_other_failures() -> None:
    cuda, runtime = host_cuda(left=10)
    with pytest.raises(OutOfMemory, match="cudaErrorMemoryAllocation"):
        cuda.device_memory(11)
    device, stream, array = cuda.device_memory(8), cuda.stream(), np.zeros(1)
    runtime.fails = Error.cudaErrorLaunchFailure
    with pytest.raises(DeviceLost, match=r"^CUDA: cudaErrorLaunchFailure$"):
        cuda.upload(array, device, stream)
    runtime.fails = Error.cudaErrorInvalidValue
    with pytest.raises(RunFailed, match=r"^CUDA: cudaErrorInvalidValue$") as caught:
        cuda.upload(array, device, stream)
    assert type(caught.value) is RunFailed


def test_a_stream_follows_another_by_a_mark() -> None:
    cuda, runtime = host_cuda()
    first, second, mark = cuda.stream(), cuda.stream(), cuda.event()
    cuda.follow(second, first, mark)
    assert runtime.followed == [(mark.address, first.address), (second.address, mark.address)]


def test_what_is_made_is_made_on_its_device_whichever_one_the_thread_means() -> None:
    runtime = Runtime()
    first, second = HostCuda(runtime, 0), HostCuda(runtime, 1)
    for cuda in (first, second, first):
        made = [cuda.stream(), cuda.event(), cuda.device_memory(4), cuda.host_memory(4)]
        assert {runtime.device_of(one.address) for one in made} == {cuda.device_id}
        cuda.free_bytes()
        assert runtime.devices[-1] == cuda.device_id


def test_a_thread_says_which_device_it_means() -> None:
    runtime = Runtime()
    Cuda(runtime, 3).enter()
    assert runtime.devices == [3]


def test_a_thread_minds_no_other_s_captures_not_even_one_that_only_lets_go_of_something() -> None:
    cuda, runtime = host_cuda()
    held = [cuda.device_memory(4)]
    assert runtime.modes == {threading.get_ident(): THREAD_LOCAL}
    other = threading.Thread(target=held.clear)
    other.start()
    other.join()
    assert runtime.ended == ["freed"]  # after it had said so, or it would have failed
    assert list(runtime.modes.values()) == [THREAD_LOCAL, THREAD_LOCAL]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(Error.cudaErrorMemoryAllocation, OutOfMemory), (Error.cudaErrorLaunchFailure, DeviceLost)],
)
def test_what_may_pass_is_not_taken_for_no_device(
    error: Error, raised: type[RunFailed], monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime()
    runtime.fails = error
    monkeypatch.setattr(cuda_module, "PACKAGE", "json")
    monkeypatch.setattr(cuda_module, "MODULE", "a_runtime")
    monkeypatch.setitem(sys.modules, "a_runtime", runtime)
    open_cuda.cache_clear()
    with pytest.raises(raised):
        open_cuda(0)
    runtime.fails = Error.cudaSuccess
    assert open_cuda(0) is not None
    open_cuda.cache_clear()


def test_without_cuda_python_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_module, "PACKAGE", "absent.bindings")
    open_cuda.cache_clear()
    assert open_cuda(0) is None
    monkeypatch.setattr(cuda_module, "PACKAGE", "absent")
    open_cuda.cache_clear()
    assert open_cuda(0) is None


@pytest.mark.parametrize(("fails", "is_there"), [(Error.cudaSuccess, True), (35, False)])
def test_a_device_that_the_driver_refuses_is_none(
    fails: int, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime()
    runtime.fails = Error.cudaErrorInvalidValue if fails else Error.cudaSuccess
    monkeypatch.setattr(cuda_module, "PACKAGE", "json")
    monkeypatch.setattr(cuda_module, "MODULE", "a_runtime")
    monkeypatch.setitem(sys.modules, "a_runtime", runtime)
    open_cuda.cache_clear()
    assert (open_cuda(0) is not None) is is_there
    open_cuda.cache_clear()
